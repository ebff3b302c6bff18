-- The cache holds whether a key has credits at all, so that change is sent. It does not hold how many are
-- left, so a charge never notifies (docs/decisions/0006).
CREATE FUNCTION latchkey.evict_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('latchkey_evict', TG_ARGV[0] || ' ' || (to_jsonb(NEW) ->> TG_ARGV[1]));
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER api_key_credits_evict_insert AFTER INSERT ON latchkey.api_key_credits FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict_new('key', 'key_id');
--> statement-breakpoint
CREATE TRIGGER api_key_credits_evict_delete AFTER DELETE ON latchkey.api_key_credits FOR EACH ROW
  EXECUTE FUNCTION latchkey.evict('key', 'key_id');
--> statement-breakpoint
CREATE TRIGGER api_key_credits_evict_truncate AFTER TRUNCATE ON latchkey.api_key_credits
  EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
ALTER TABLE latchkey.api_key_credits ENABLE ALWAYS TRIGGER api_key_credits_evict_insert;
--> statement-breakpoint
ALTER TABLE latchkey.api_key_credits ENABLE ALWAYS TRIGGER api_key_credits_evict_delete;
--> statement-breakpoint
ALTER TABLE latchkey.api_key_credits ENABLE ALWAYS TRIGGER api_key_credits_evict_truncate;
