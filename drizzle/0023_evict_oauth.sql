-- What an app may do depends on its row, on that of its resource, and on the grant of its session.
CREATE TRIGGER oauth_clients_evict_update AFTER UPDATE ON latchkey.oauth_clients FOR EACH ROW
  WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active OR OLD.scopes IS DISTINCT FROM NEW.scopes
    OR OLD.first_party IS DISTINCT FROM NEW.first_party OR OLD.source IS DISTINCT FROM NEW.source
    OR OLD.client_id IS DISTINCT FROM NEW.client_id OR OLD.id IS DISTINCT FROM NEW.id)
  EXECUTE FUNCTION latchkey.evict('client', 'id');
--> statement-breakpoint
CREATE TRIGGER oauth_clients_evict_delete AFTER DELETE ON latchkey.oauth_clients FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict('client', 'id');
--> statement-breakpoint
CREATE TRIGGER oauth_clients_evict_truncate AFTER TRUNCATE ON latchkey.oauth_clients EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
CREATE TRIGGER resources_evict_update AFTER UPDATE ON latchkey.resources FOR EACH ROW
  WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active OR OLD.scopes IS DISTINCT FROM NEW.scopes
    OR OLD.identifier IS DISTINCT FROM NEW.identifier OR OLD.slug IS DISTINCT FROM NEW.slug
    OR OLD.id IS DISTINCT FROM NEW.id)
  EXECUTE FUNCTION latchkey.evict('resource', 'id');
--> statement-breakpoint
CREATE TRIGGER resources_evict_delete AFTER DELETE ON latchkey.resources FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict('resource', 'id');
--> statement-breakpoint
CREATE TRIGGER resources_evict_truncate AFTER TRUNCATE ON latchkey.resources EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
CREATE TRIGGER oauth_grants_evict_delete AFTER DELETE ON latchkey.oauth_grants FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict('grant', 'id');
--> statement-breakpoint
CREATE TRIGGER oauth_grants_evict_truncate AFTER TRUNCATE ON latchkey.oauth_grants EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
DO $$
DECLARE t record;
BEGIN
  FOR t IN SELECT c.relname, g.tgname FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'latchkey' AND NOT g.tgisinternal AND g.tgenabled <> 'A'
             AND g.tgname IN ('oauth_clients_evict_update', 'oauth_clients_evict_delete', 'oauth_clients_evict_truncate',
               'resources_evict_update', 'resources_evict_delete', 'resources_evict_truncate',
               'oauth_grants_evict_delete', 'oauth_grants_evict_truncate') LOOP
    EXECUTE format('ALTER TABLE latchkey.%I ENABLE ALWAYS TRIGGER %I', t.relname, t.tgname);
  END LOOP;
END $$;
