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
CREATE INDEX "api_keys_unrevoked_idx" ON "latchkey"."api_keys" USING btree ("id") WHERE "latchkey"."api_keys"."revoked_at" IS NULL;