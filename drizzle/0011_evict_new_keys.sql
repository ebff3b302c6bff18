-- Each instance remembers for some seconds which credentials are unknown. A secret that is added ends that everywhere: one
-- message a statement, which names no key.
CREATE FUNCTION latchkey.evict_unknown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('latchkey_evict', 'new');
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER api_key_secrets_evict_unknown AFTER INSERT ON latchkey.api_key_secrets
  EXECUTE FUNCTION latchkey.evict_unknown();
--> statement-breakpoint
ALTER TABLE latchkey.api_key_secrets ENABLE ALWAYS TRIGGER api_key_secrets_evict_unknown;
