CREATE TABLE "latchkey"."api_key_credits" (
	"key_id" uuid PRIMARY KEY NOT NULL,
	"remaining" bigint NOT NULL,
	"refill_amount" bigint,
	"refill_interval" text,
	"refills_at" timestamp with time zone,
	CONSTRAINT "api_key_credits_remaining_check" CHECK ("latchkey"."api_key_credits"."remaining" >= 0),
	CONSTRAINT "api_key_credits_refill_amount_check" CHECK ("latchkey"."api_key_credits"."refill_amount" > 0),
	CONSTRAINT "api_key_credits_refill_interval_check" CHECK ("latchkey"."api_key_credits"."refill_interval" IN ('daily', 'monthly')),
	CONSTRAINT "api_key_credits_refill_check" CHECK (num_nonnulls("latchkey"."api_key_credits"."refill_amount", "latchkey"."api_key_credits"."refill_interval", "latchkey"."api_key_credits"."refills_at") IN (0, 3))
);
--> statement-breakpoint
CREATE TABLE "latchkey"."key_creations" (
	"hash" "bytea" PRIMARY KEY NOT NULL,
	"key_id" uuid NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "key_creations_hash_check" CHECK (octet_length("latchkey"."key_creations"."hash") = 32)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."key_usage" (
	"key_id" uuid NOT NULL,
	"hour" timestamp with time zone NOT NULL,
	"outcome" text NOT NULL,
	"count" bigint NOT NULL,
	CONSTRAINT "key_usage_pkey" PRIMARY KEY("key_id","hour","outcome"),
	CONSTRAINT "key_usage_count_check" CHECK ("latchkey"."key_usage"."count" > 0)
);
--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "description" text;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "external_id" text;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "metadata" jsonb;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "rate_limit" integer;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "rate_window_seconds" integer;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "allowed_ips" text[];--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD CONSTRAINT "api_key_credits_key_id_api_keys_id_fk" FOREIGN KEY ("key_id") REFERENCES "latchkey"."api_keys"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."key_usage" ADD CONSTRAINT "key_usage_key_id_api_keys_id_fk" FOREIGN KEY ("key_id") REFERENCES "latchkey"."api_keys"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "key_creations_created_at_idx" ON "latchkey"."key_creations" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "key_usage_hour_idx" ON "latchkey"."key_usage" USING btree ("hour");--> statement-breakpoint
CREATE INDEX "api_keys_external_id_idx" ON "latchkey"."api_keys" USING btree ("external_id");--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_description_check" CHECK (char_length("latchkey"."api_keys"."description") <= 500);--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_external_id_check" CHECK (char_length("latchkey"."api_keys"."external_id") <= 255);--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_metadata_check" CHECK (jsonb_typeof("latchkey"."api_keys"."metadata") = 'object' AND octet_length("latchkey"."api_keys"."metadata"::text) <= 16384);--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_rate_check" CHECK (("latchkey"."api_keys"."rate_limit" IS NULL) = ("latchkey"."api_keys"."rate_window_seconds" IS NULL));--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_rate_limit_check" CHECK ("latchkey"."api_keys"."rate_limit" > 0 AND "latchkey"."api_keys"."rate_window_seconds" > 0);--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_allowed_ips_check" CHECK (cardinality("latchkey"."api_keys"."allowed_ips") <= 50);