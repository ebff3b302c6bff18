ALTER TABLE "latchkey"."api_keys" ADD COLUMN "rate_root" uuid;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "root_rate_limit" integer;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "root_rate_window_seconds" integer;--> statement-breakpoint
CREATE INDEX "api_keys_rate_root_idx" ON "latchkey"."api_keys" USING btree ("rate_root") WHERE "latchkey"."api_keys"."rate_root" IS NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_root_rate_check" CHECK (("latchkey"."api_keys"."root_rate_limit" IS NULL) = ("latchkey"."api_keys"."root_rate_window_seconds" IS NULL)
        AND ("latchkey"."api_keys"."rate_root" IS NOT NULL OR "latchkey"."api_keys"."root_rate_limit" IS NULL));--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_root_rate_limit_check" CHECK ("latchkey"."api_keys"."root_rate_limit" > 0 AND "latchkey"."api_keys"."root_rate_window_seconds" > 0);
--> statement-breakpoint
-- A key's rate is kept beside each key that shares it, so that it goes on counting when that key is deleted. Each change of
-- the rate is copied by one statement, also one by hand, and evicts these keys.
CREATE FUNCTION latchkey.copy_root_rate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE latchkey.api_keys SET root_rate_limit = NEW.rate_limit, root_rate_window_seconds = NEW.rate_window_seconds
    WHERE rate_root = NEW.id;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER api_keys_copy_root_rate AFTER UPDATE ON latchkey.api_keys FOR EACH ROW
  WHEN (OLD.rate_limit IS DISTINCT FROM NEW.rate_limit OR OLD.rate_window_seconds IS DISTINCT FROM NEW.rate_window_seconds)
  EXECUTE FUNCTION latchkey.copy_root_rate();
--> statement-breakpoint
ALTER TABLE latchkey.api_keys ENABLE ALWAYS TRIGGER api_keys_copy_root_rate;
