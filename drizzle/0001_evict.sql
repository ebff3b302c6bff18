-- Eviction by the database: every change of what a credential may do, by any program, is sent to every
-- instance on the channel latchkey_evict as `<kind> <id>`, or `flush`. WHEN names only the columns that
-- decide rights: generations, counters and last_used_at never notify, because each NOTIFY takes a lock on the
-- whole cluster at commit. Beyond 1,000 rows in one transaction it sends one `flush` instead of their ids.
CREATE FUNCTION latchkey.evict() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE rows_so_far int := coalesce(nullif(current_setting('latchkey.evictions', true), ''), '0')::int + 1;
BEGIN
  PERFORM set_config('latchkey.evictions', rows_so_far::text, true);
  IF rows_so_far > 1000 THEN
    PERFORM pg_notify('latchkey_evict', 'flush');
  ELSE
    PERFORM pg_notify('latchkey_evict', TG_ARGV[0] || ' ' || (to_jsonb(OLD) ->> TG_ARGV[1]));
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE FUNCTION latchkey.evict_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('latchkey_evict', 'flush');
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER users_evict_update AFTER UPDATE ON latchkey.users FOR EACH ROW
  WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active OR OLD.role IS DISTINCT FROM NEW.role
    OR OLD.scopes IS DISTINCT FROM NEW.scopes OR OLD.email IS DISTINCT FROM NEW.email
    OR OLD.email_verified IS DISTINCT FROM NEW.email_verified OR OLD.id IS DISTINCT FROM NEW.id)
  EXECUTE FUNCTION latchkey.evict('user', 'id');
--> statement-breakpoint
CREATE TRIGGER users_evict_delete AFTER DELETE ON latchkey.users FOR EACH ROW EXECUTE FUNCTION latchkey.evict('user', 'id');
--> statement-breakpoint
CREATE TRIGGER users_evict_truncate AFTER TRUNCATE ON latchkey.users EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
CREATE TRIGGER service_accounts_evict_update AFTER UPDATE ON latchkey.service_accounts FOR EACH ROW
  WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active OR OLD.scopes IS DISTINCT FROM NEW.scopes
    OR OLD.name IS DISTINCT FROM NEW.name OR OLD.id IS DISTINCT FROM NEW.id)
  EXECUTE FUNCTION latchkey.evict('service_account', 'id');
--> statement-breakpoint
CREATE TRIGGER service_accounts_evict_delete AFTER DELETE ON latchkey.service_accounts FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict('service_account', 'id');
--> statement-breakpoint
CREATE TRIGGER service_accounts_evict_truncate AFTER TRUNCATE ON latchkey.service_accounts EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
CREATE TRIGGER api_keys_evict_update AFTER UPDATE ON latchkey.api_keys FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
  EXECUTE FUNCTION latchkey.evict('key', 'id');
--> statement-breakpoint
CREATE TRIGGER api_keys_evict_delete AFTER DELETE ON latchkey.api_keys FOR EACH ROW EXECUTE FUNCTION latchkey.evict('key', 'id');
--> statement-breakpoint
CREATE TRIGGER api_keys_evict_truncate AFTER TRUNCATE ON latchkey.api_keys EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
CREATE TRIGGER api_key_secrets_evict_update AFTER UPDATE ON latchkey.api_key_secrets FOR EACH ROW
  WHEN (OLD.hash IS DISTINCT FROM NEW.hash OR OLD.expires_at IS DISTINCT FROM NEW.expires_at
    OR OLD.key_id IS DISTINCT FROM NEW.key_id)
  EXECUTE FUNCTION latchkey.evict('key', 'key_id');
--> statement-breakpoint
CREATE TRIGGER api_key_secrets_evict_delete AFTER DELETE ON latchkey.api_key_secrets FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict('key', 'key_id');
--> statement-breakpoint
CREATE TRIGGER api_key_secrets_evict_truncate AFTER TRUNCATE ON latchkey.api_key_secrets EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
CREATE TRIGGER sessions_evict_update AFTER UPDATE ON latchkey.sessions FOR EACH ROW
  WHEN (OLD.ended_at IS DISTINCT FROM NEW.ended_at OR OLD.expires_at IS DISTINCT FROM NEW.expires_at
    OR OLD.user_id IS DISTINCT FROM NEW.user_id OR OLD.salt IS DISTINCT FROM NEW.salt)
  EXECUTE FUNCTION latchkey.evict('session', 'id');
--> statement-breakpoint
CREATE TRIGGER sessions_evict_delete AFTER DELETE ON latchkey.sessions FOR EACH ROW EXECUTE FUNCTION latchkey.evict('session', 'id');
--> statement-breakpoint
CREATE TRIGGER sessions_evict_truncate AFTER TRUNCATE ON latchkey.sessions EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
CREATE TRIGGER signing_keys_evict_insert AFTER INSERT OR TRUNCATE ON latchkey.signing_keys FOR EACH STATEMENT
  EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
CREATE TRIGGER signing_keys_evict_change AFTER UPDATE OR DELETE ON latchkey.signing_keys FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict('signing_key', 'id');
--> statement-breakpoint
-- ENABLE ALWAYS: they fire under session_replication_role = replica too.
DO $$
DECLARE t record;
BEGIN
  FOR t IN SELECT c.relname, g.tgname FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'latchkey' AND NOT g.tgisinternal LOOP
    EXECUTE format('ALTER TABLE latchkey.%I ENABLE ALWAYS TRIGGER %I', t.relname, t.tgname);
  END LOOP;
END $$;
