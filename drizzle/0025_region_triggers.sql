-- Whether a key or an owner has credits is copied beside it, because a region has no table of credits and must know of whom to
-- ask at home. A charge changes no row that is inserted or deleted, so it costs nothing here (docs/decisions/0057).
CREATE FUNCTION latchkey.keep_key_credits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE latchkey.api_keys SET has_credits = true WHERE id = NEW.key_id AND NOT has_credits;
  ELSIF TG_OP = 'DELETE' THEN
    UPDATE latchkey.api_keys SET has_credits = false WHERE id = OLD.key_id AND has_credits;
  ELSE
    UPDATE latchkey.api_keys SET has_credits = false WHERE has_credits;
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE FUNCTION latchkey.keep_owner_credits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE latchkey.users SET has_credits = true WHERE id = NEW.user_id AND NOT has_credits;
    UPDATE latchkey.service_accounts SET has_credits = true WHERE id = NEW.service_account_id AND NOT has_credits;
  ELSIF TG_OP = 'DELETE' THEN
    UPDATE latchkey.users SET has_credits = false WHERE id = OLD.user_id AND has_credits;
    UPDATE latchkey.service_accounts SET has_credits = false WHERE id = OLD.service_account_id AND has_credits;
  ELSE
    UPDATE latchkey.users SET has_credits = false WHERE has_credits;
    UPDATE latchkey.service_accounts SET has_credits = false WHERE has_credits;
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER api_key_credits_keep AFTER INSERT OR DELETE ON latchkey.api_key_credits FOR EACH ROW
  EXECUTE FUNCTION latchkey.keep_key_credits();
--> statement-breakpoint
CREATE TRIGGER api_key_credits_keep_truncate AFTER TRUNCATE ON latchkey.api_key_credits
  EXECUTE FUNCTION latchkey.keep_key_credits();
--> statement-breakpoint
CREATE TRIGGER owner_credits_keep AFTER INSERT OR DELETE ON latchkey.owner_credits FOR EACH ROW
  EXECUTE FUNCTION latchkey.keep_owner_credits();
--> statement-breakpoint
CREATE TRIGGER owner_credits_keep_truncate AFTER TRUNCATE ON latchkey.owner_credits
  EXECUTE FUNCTION latchkey.keep_owner_credits();
--> statement-breakpoint
ALTER TABLE latchkey.api_key_credits ENABLE ALWAYS TRIGGER api_key_credits_keep;
--> statement-breakpoint
ALTER TABLE latchkey.api_key_credits ENABLE ALWAYS TRIGGER api_key_credits_keep_truncate;
--> statement-breakpoint
ALTER TABLE latchkey.owner_credits ENABLE ALWAYS TRIGGER owner_credits_keep;
--> statement-breakpoint
ALTER TABLE latchkey.owner_credits ENABLE ALWAYS TRIGGER owner_credits_keep_truncate;
--> statement-breakpoint
-- A cached key holds whether its owner has credits.
DROP TRIGGER users_evict_update ON latchkey.users;
--> statement-breakpoint
CREATE TRIGGER users_evict_update AFTER UPDATE ON latchkey.users FOR EACH ROW
  WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active OR OLD.role IS DISTINCT FROM NEW.role
    OR OLD.scopes IS DISTINCT FROM NEW.scopes OR OLD.email IS DISTINCT FROM NEW.email
    OR OLD.email_verified IS DISTINCT FROM NEW.email_verified OR OLD.id IS DISTINCT FROM NEW.id
    OR OLD.has_second_factor IS DISTINCT FROM NEW.has_second_factor
    OR OLD.rate_limit IS DISTINCT FROM NEW.rate_limit
    OR OLD.rate_window_seconds IS DISTINCT FROM NEW.rate_window_seconds
    OR OLD.has_credits IS DISTINCT FROM NEW.has_credits)
  EXECUTE FUNCTION latchkey.evict('user', 'id');
--> statement-breakpoint
ALTER TABLE latchkey.users ENABLE ALWAYS TRIGGER users_evict_update;
--> statement-breakpoint
DROP TRIGGER service_accounts_evict_update ON latchkey.service_accounts;
--> statement-breakpoint
CREATE TRIGGER service_accounts_evict_update AFTER UPDATE ON latchkey.service_accounts FOR EACH ROW
  WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active OR OLD.scopes IS DISTINCT FROM NEW.scopes
    OR OLD.name IS DISTINCT FROM NEW.name OR OLD.external_id IS DISTINCT FROM NEW.external_id
    OR OLD.id IS DISTINCT FROM NEW.id OR OLD.rate_limit IS DISTINCT FROM NEW.rate_limit
    OR OLD.rate_window_seconds IS DISTINCT FROM NEW.rate_window_seconds
    OR OLD.has_credits IS DISTINCT FROM NEW.has_credits)
  EXECUTE FUNCTION latchkey.evict('service_account', 'id');
--> statement-breakpoint
ALTER TABLE latchkey.service_accounts ENABLE ALWAYS TRIGGER service_accounts_evict_update;
--> statement-breakpoint
-- Behind the triggers, which wait for every change that is under way: none is missed.
UPDATE latchkey.api_keys SET has_credits = true WHERE id IN (SELECT key_id FROM latchkey.api_key_credits);
--> statement-breakpoint
UPDATE latchkey.users SET has_credits = true WHERE id IN (SELECT user_id FROM latchkey.owner_credits);
--> statement-breakpoint
UPDATE latchkey.service_accounts SET has_credits = true
  WHERE id IN (SELECT service_account_id FROM latchkey.owner_credits);
--> statement-breakpoint
-- In a region, changes arrive by logical replication, which fires no statement triggers but those of TRUNCATE. So what home
-- does for each statement, a region does for each row. ENABLE REPLICA: they fire for what arrives, never for a change of home.
CREATE TRIGGER signing_keys_evict_arrived AFTER INSERT ON latchkey.signing_keys FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
ALTER TABLE latchkey.signing_keys ENABLE REPLICA TRIGGER signing_keys_evict_arrived;
--> statement-breakpoint
CREATE TRIGGER api_key_secrets_evict_arrived AFTER INSERT ON latchkey.api_key_secrets FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict_unknown();
--> statement-breakpoint
ALTER TABLE latchkey.api_key_secrets ENABLE REPLICA TRIGGER api_key_secrets_evict_arrived;
--> statement-breakpoint
-- A heartbeat proves that every change before it has arrived only if it names the one before, the region's slot is the one of
-- before, and all tables are copied, by the subscription that has the heartbeats. A row that is inserted into a copied table
-- begins another chain. Where the region's own database failed over, home does not send again what the old server had
-- confirmed. A slot survives a failover of home for sure only on PostgreSQL 17 and later, where the subscription asks for it.
CREATE FUNCTION latchkey.receive_heartbeat() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  own oid[] := ARRAY(SELECT h.srsubid FROM pg_catalog.pg_subscription_rel h WHERE h.srrelid = TG_RELID);
  lost text;
  uncopied int;
  is_copied boolean;
  is_slot_kept boolean := false;
BEGIN
  SELECT count(*) FILTER (WHERE r.srsubstate <> 'r' OR r.srsubid <> ALL (own)),
      coalesce(bool_and(r.srsubstate = 'r') FILTER (WHERE r.srrelid = TG_RELID), false)
    INTO uncopied, is_copied FROM pg_catalog.pg_subscription_rel r
    JOIN pg_catalog.pg_class c ON c.oid = r.srrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE r.srsubid = ANY (own) OR n.nspname = 'latchkey';
  NEW.copy_timeline := ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int;
  IF TG_OP = 'INSERT' THEN
    IF is_copied THEN lost := 'chain'; END IF;
  -- While all is copied again, the slot is a new one: home may see that behind the copy of this row.
  ELSIF NEW.previous <> OLD.token OR EXISTS (
      SELECT FROM pg_catalog.pg_subscription s
      WHERE s.oid = ANY (own) AND NOT EXISTS (SELECT FROM latchkey.region_state WHERE reason = 'resync')
        AND (NEW.slots -> s.subslotname ->> 'generation') <> (OLD.slots -> s.subslotname ->> 'generation')) THEN
    lost := 'chain';
  ELSIF NEW.copy_timeline <> OLD.copy_timeline THEN
    lost := 'timeline';
  ELSIF NEW.timeline <> OLD.timeline THEN
    -- An older server has no such column.
    IF NEW.server_version >= 170000 AND current_setting('server_version_num')::int >= 170000 THEN
      EXECUTE 'SELECT coalesce(bool_and(s.subfailover), false) FROM pg_catalog.pg_subscription s WHERE s.oid = ANY ($1)'
        INTO is_slot_kept USING own;
    END IF;
    IF NOT is_slot_kept THEN lost := 'timeline'; END IF;
  END IF;
  IF lost IS NOT NULL THEN
    INSERT INTO latchkey.region_state ("only", broken_at, reason) VALUES (true, clock_timestamp(), lost)
      ON CONFLICT ("only") DO UPDATE SET reason = excluded.reason;
  END IF;
  PERFORM pg_notify('latchkey_region', format('heartbeat %s %s %s %s %s', NEW.n,
    floor(extract(epoch FROM NEW.at) * 1000)::bigint, NEW.timeline, uncopied,
    coalesce((SELECT s.reason FROM latchkey.region_state s), 'whole')));
  RETURN NEW;
END $$;
--> statement-breakpoint
-- BEFORE: it notes the timeline in the row.
CREATE TRIGGER heartbeats_arrived BEFORE INSERT OR UPDATE ON latchkey.heartbeats FOR EACH ROW
  EXECUTE FUNCTION latchkey.receive_heartbeat();
--> statement-breakpoint
ALTER TABLE latchkey.heartbeats ENABLE REPLICA TRIGGER heartbeats_arrived;
--> statement-breakpoint
CREATE FUNCTION latchkey.tell_region_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('latchkey_region', 'state ' || coalesce((SELECT s.reason FROM latchkey.region_state s), 'whole'));
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER region_state_tell AFTER INSERT OR UPDATE OR DELETE ON latchkey.region_state FOR EACH ROW
  EXECUTE FUNCTION latchkey.tell_region_state();
--> statement-breakpoint
CREATE TRIGGER region_state_tell_truncate AFTER TRUNCATE ON latchkey.region_state
  EXECUTE FUNCTION latchkey.tell_region_state();
--> statement-breakpoint
ALTER TABLE latchkey.region_state ENABLE ALWAYS TRIGGER region_state_tell;
--> statement-breakpoint
ALTER TABLE latchkey.region_state ENABLE ALWAYS TRIGGER region_state_tell_truncate;
