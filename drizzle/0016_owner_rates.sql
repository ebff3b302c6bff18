ALTER TABLE "latchkey"."api_keys" ADD COLUMN "limits_of_others" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD COLUMN "rate_limit" integer;--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD COLUMN "rate_window_seconds" integer;--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD COLUMN "rate_limit" integer;--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD COLUMN "rate_window_seconds" integer;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_limits_of_others_check" CHECK ("latchkey"."api_keys"."limits_of_others" <@ '{rate_limit,credits}');--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD CONSTRAINT "service_accounts_rate_check" CHECK (("latchkey"."service_accounts"."rate_limit" IS NULL) = ("latchkey"."service_accounts"."rate_window_seconds" IS NULL));--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD CONSTRAINT "service_accounts_rate_limit_check" CHECK ("latchkey"."service_accounts"."rate_limit" > 0 AND "latchkey"."service_accounts"."rate_window_seconds" > 0);--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD CONSTRAINT "users_rate_check" CHECK (("latchkey"."users"."rate_limit" IS NULL) = ("latchkey"."users"."rate_window_seconds" IS NULL));--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD CONSTRAINT "users_rate_limit_check" CHECK ("latchkey"."users"."rate_limit" > 0 AND "latchkey"."users"."rate_window_seconds" > 0);--> statement-breakpoint
-- A cached key has the rate of its owner.
DROP TRIGGER users_evict_update ON latchkey.users;
--> statement-breakpoint
CREATE TRIGGER users_evict_update AFTER UPDATE ON latchkey.users FOR EACH ROW
  WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active OR OLD.role IS DISTINCT FROM NEW.role
    OR OLD.scopes IS DISTINCT FROM NEW.scopes OR OLD.email IS DISTINCT FROM NEW.email
    OR OLD.email_verified IS DISTINCT FROM NEW.email_verified OR OLD.id IS DISTINCT FROM NEW.id
    OR OLD.has_second_factor IS DISTINCT FROM NEW.has_second_factor
    OR OLD.rate_limit IS DISTINCT FROM NEW.rate_limit
    OR OLD.rate_window_seconds IS DISTINCT FROM NEW.rate_window_seconds)
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
    OR OLD.rate_window_seconds IS DISTINCT FROM NEW.rate_window_seconds)
  EXECUTE FUNCTION latchkey.evict('service_account', 'id');
--> statement-breakpoint
ALTER TABLE latchkey.service_accounts ENABLE ALWAYS TRIGGER service_accounts_evict_update;
