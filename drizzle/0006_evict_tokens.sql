-- A revoked access token of a service account is evicted from every instance's cache.
CREATE TRIGGER revoked_tokens_evict_insert AFTER INSERT ON latchkey.revoked_tokens FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict_new('token', 'id');
--> statement-breakpoint
ALTER TABLE latchkey.revoked_tokens ENABLE ALWAYS TRIGGER revoked_tokens_evict_insert;
