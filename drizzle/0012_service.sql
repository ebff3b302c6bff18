CREATE TABLE "latchkey"."instances" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" text NOT NULL,
	"started_at" timestamp with time zone NOT NULL,
	"seen_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "latchkey"."overview" (
	"only" boolean PRIMARY KEY NOT NULL,
	"computed_at" timestamp with time zone NOT NULL,
	"body" jsonb NOT NULL,
	CONSTRAINT "overview_only_check" CHECK ("latchkey"."overview"."only")
);
--> statement-breakpoint
CREATE INDEX "instances_seen_at_idx" ON "latchkey"."instances" USING btree ("seen_at");--> statement-breakpoint
CREATE INDEX "api_keys_unrevoked_idx" ON "latchkey"."api_keys" USING btree ("id") WHERE "latchkey"."api_keys"."revoked_at" IS NULL;--> statement-breakpoint
CREATE TABLE "latchkey"."key_activity" (
	"key_id" uuid PRIMARY KEY NOT NULL,
	"last_used_at" timestamp with time zone NOT NULL,
	"last_used_day" date NOT NULL
);
--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_secrets" ADD COLUMN "ended_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "latchkey"."key_activity" ADD CONSTRAINT "key_activity_key_id_api_keys_id_fk" FOREIGN KEY ("key_id") REFERENCES "latchkey"."api_keys"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "key_activity_last_used_day_idx" ON "latchkey"."key_activity" USING btree ("last_used_day");--> statement-breakpoint
CREATE INDEX "api_key_secrets_ended_at_idx" ON "latchkey"."api_key_secrets" USING btree ("ended_at") WHERE "latchkey"."api_key_secrets"."ended_at" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "api_key_secrets_expires_at_idx" ON "latchkey"."api_key_secrets" USING btree ("expires_at") WHERE "latchkey"."api_key_secrets"."ended_at" IS NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_secrets" ADD CONSTRAINT "api_key_secrets_ended_check" CHECK ("latchkey"."api_key_secrets"."ended_at" IS NULL OR ("latchkey"."api_key_secrets"."expires_at" IS NOT NULL AND "latchkey"."api_key_secrets"."expires_at" <= "latchkey"."api_key_secrets"."ended_at"));--> statement-breakpoint
ALTER TABLE "latchkey"."key_activity" SET (fillfactor = 80);--> statement-breakpoint
INSERT INTO "latchkey"."key_activity" ("key_id", "last_used_at", "last_used_day")
SELECT "id", "at", ("at" AT TIME ZONE 'UTC')::date
FROM (SELECT k."id", GREATEST(k."last_used_at", max(s."last_used_at")) AS "at"
  FROM "latchkey"."api_keys" k LEFT JOIN "latchkey"."api_key_secrets" s ON s."key_id" = k."id" GROUP BY k."id") AS used
WHERE "at" IS NOT NULL;--> statement-breakpoint
-- An end that an operator writes by hand evicts too. The evictions of the service itself change expires_at beside it.
DROP TRIGGER api_key_secrets_evict_update ON "latchkey"."api_key_secrets";--> statement-breakpoint
CREATE TRIGGER api_key_secrets_evict_update AFTER UPDATE ON "latchkey"."api_key_secrets" FOR EACH ROW
  WHEN (OLD.hash IS DISTINCT FROM NEW.hash OR OLD.expires_at IS DISTINCT FROM NEW.expires_at
    OR OLD.key_id IS DISTINCT FROM NEW.key_id OR (OLD.ended_at IS DISTINCT FROM NEW.ended_at AND NEW.expires_at > now()))
  EXECUTE FUNCTION latchkey.evict('key', 'key_id');--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_secrets" ENABLE ALWAYS TRIGGER api_key_secrets_evict_update;
--> statement-breakpoint
CREATE TABLE "latchkey"."exports" (
	"admin_id" uuid PRIMARY KEY NOT NULL,
	"id" uuid NOT NULL,
	"expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "latchkey"."exports" ADD CONSTRAINT "exports_admin_id_users_id_fk" FOREIGN KEY ("admin_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "exports_expires_at_idx" ON "latchkey"."exports" USING btree ("expires_at");