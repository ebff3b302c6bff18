CREATE TABLE "latchkey"."owner_credits" (
	"owner_id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid,
	"service_account_id" uuid,
	"remaining" bigint NOT NULL,
	"refill_amount" bigint,
	"refill_interval" text,
	"refill_day" integer,
	"refill_hour" integer,
	"refill_time_zone" text,
	"refill_mode" text,
	"refill_max" bigint,
	"refills_at" timestamp with time zone,
	CONSTRAINT "owner_credits_owner_check" CHECK (num_nonnulls("latchkey"."owner_credits"."user_id", "latchkey"."owner_credits"."service_account_id") = 1 AND "latchkey"."owner_credits"."owner_id" = COALESCE("latchkey"."owner_credits"."user_id", "latchkey"."owner_credits"."service_account_id")),
	CONSTRAINT "owner_credits_remaining_check" CHECK ("latchkey"."owner_credits"."remaining" >= 0),
	CONSTRAINT "owner_credits_refill_amount_check" CHECK ("latchkey"."owner_credits"."refill_amount" > 0),
	CONSTRAINT "owner_credits_refill_interval_check" CHECK ("latchkey"."owner_credits"."refill_interval" IN ('daily', 'weekly', 'monthly')),
	CONSTRAINT "owner_credits_refill_day_check" CHECK ("latchkey"."owner_credits"."refill_day" BETWEEN 1 AND 31),
	CONSTRAINT "owner_credits_refill_hour_check" CHECK ("latchkey"."owner_credits"."refill_hour" BETWEEN 0 AND 23),
	CONSTRAINT "owner_credits_refill_time_zone_check" CHECK (char_length("latchkey"."owner_credits"."refill_time_zone") BETWEEN 1 AND 64),
	CONSTRAINT "owner_credits_refill_mode_check" CHECK ("latchkey"."owner_credits"."refill_mode" IN ('set', 'add')),
	CONSTRAINT "owner_credits_refill_max_check" CHECK ("latchkey"."owner_credits"."refill_max" >= "latchkey"."owner_credits"."refill_amount"),
	CONSTRAINT "owner_credits_refill_check" CHECK (num_nonnulls("latchkey"."owner_credits"."refill_amount", "latchkey"."owner_credits"."refill_interval", "latchkey"."owner_credits"."refills_at") IN (0, 3))
);
--> statement-breakpoint
CREATE TABLE "latchkey"."top_ups" (
	"hash" "bytea" PRIMARY KEY NOT NULL,
	"body_hash" "bytea" NOT NULL,
	"remaining" bigint NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "top_ups_hash_check" CHECK (octet_length("latchkey"."top_ups"."hash") = 32 AND octet_length("latchkey"."top_ups"."body_hash") = 32),
	CONSTRAINT "top_ups_remaining_check" CHECK ("latchkey"."top_ups"."remaining" >= 0)
);
--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" DROP CONSTRAINT "api_key_credits_refill_interval_check";--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD COLUMN "refill_day" integer;--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD COLUMN "refill_hour" integer;--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD COLUMN "refill_time_zone" text;--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD COLUMN "refill_mode" text;--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD COLUMN "refill_max" bigint;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "limits_of_others" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."owner_credits" ADD CONSTRAINT "owner_credits_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."owner_credits" ADD CONSTRAINT "owner_credits_service_account_id_service_accounts_id_fk" FOREIGN KEY ("service_account_id") REFERENCES "latchkey"."service_accounts"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "owner_credits_user_id_idx" ON "latchkey"."owner_credits" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "owner_credits_service_account_id_idx" ON "latchkey"."owner_credits" USING btree ("service_account_id");--> statement-breakpoint
CREATE INDEX "top_ups_created_at_idx" ON "latchkey"."top_ups" USING btree ("created_at");--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD CONSTRAINT "api_key_credits_refill_day_check" CHECK ("latchkey"."api_key_credits"."refill_day" BETWEEN 1 AND 31);--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD CONSTRAINT "api_key_credits_refill_hour_check" CHECK ("latchkey"."api_key_credits"."refill_hour" BETWEEN 0 AND 23);--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD CONSTRAINT "api_key_credits_refill_time_zone_check" CHECK (char_length("latchkey"."api_key_credits"."refill_time_zone") BETWEEN 1 AND 64);--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD CONSTRAINT "api_key_credits_refill_mode_check" CHECK ("latchkey"."api_key_credits"."refill_mode" IN ('set', 'add'));--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD CONSTRAINT "api_key_credits_refill_max_check" CHECK ("latchkey"."api_key_credits"."refill_max" >= "latchkey"."api_key_credits"."refill_amount");--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_credits" ADD CONSTRAINT "api_key_credits_refill_interval_check" CHECK ("latchkey"."api_key_credits"."refill_interval" IN ('daily', 'weekly', 'monthly'));--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_limits_of_others_check" CHECK ("latchkey"."api_keys"."limits_of_others" <@ '{rate_limit,credits}');