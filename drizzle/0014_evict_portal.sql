-- A portal session that was changed or deleted is evicted from every instance's cache. Before its link is exchanged no
-- cache can hold it.
CREATE TRIGGER portal_sessions_evict_update AFTER UPDATE ON latchkey.portal_sessions FOR EACH ROW
  WHEN (OLD.bearer_hash IS NOT NULL AND OLD.* IS DISTINCT FROM NEW.*)
  EXECUTE FUNCTION latchkey.evict('portal_session', 'id');
--> statement-breakpoint
CREATE TRIGGER portal_sessions_evict_delete AFTER DELETE ON latchkey.portal_sessions FOR EACH ROW
  WHEN (OLD.bearer_hash IS NOT NULL)
  EXECUTE FUNCTION latchkey.evict('portal_session', 'id');
--> statement-breakpoint
CREATE TRIGGER portal_sessions_evict_truncate AFTER TRUNCATE ON latchkey.portal_sessions EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
ALTER TABLE latchkey.portal_sessions ENABLE ALWAYS TRIGGER portal_sessions_evict_update;
--> statement-breakpoint
ALTER TABLE latchkey.portal_sessions ENABLE ALWAYS TRIGGER portal_sessions_evict_delete;
--> statement-breakpoint
ALTER TABLE latchkey.portal_sessions ENABLE ALWAYS TRIGGER portal_sessions_evict_truncate;
