CREATE TABLE "latchkey"."heartbeats" (
	"only" boolean PRIMARY KEY NOT NULL,
	"n" bigint NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"token" uuid NOT NULL,
	"previous" uuid NOT NULL,
	"timeline" integer NOT NULL,
	"server_version" integer NOT NULL,
	"slots" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"copy_timeline" integer,
	CONSTRAINT "heartbeats_only_check" CHECK ("latchkey"."heartbeats"."only")
);
--> statement-breakpoint
CREATE TABLE "latchkey"."region_state" (
	"only" boolean PRIMARY KEY NOT NULL,
	"broken_at" timestamp with time zone NOT NULL,
	"reason" text NOT NULL,
	CONSTRAINT "region_state_only_check" CHECK ("latchkey"."region_state"."only"),
	CONSTRAINT "region_state_reason_check" CHECK ("latchkey"."region_state"."reason" IN ('chain', 'timeline', 'resync'))
);
--> statement-breakpoint
CREATE TABLE "latchkey"."regions" (
	"name" text PRIMARY KEY NOT NULL,
	"registered_at" timestamp with time zone NOT NULL,
	"reported_at" timestamp with time zone NOT NULL,
	CONSTRAINT "regions_name_check" CHECK (char_length("latchkey"."regions"."name") BETWEEN 1 AND 100)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."usage_reports" (
	"id" uuid PRIMARY KEY NOT NULL,
	"received_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "has_credits" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD COLUMN "has_credits" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD COLUMN "has_credits" boolean DEFAULT false NOT NULL;--> statement-breakpoint
CREATE INDEX "regions_reported_at_idx" ON "latchkey"."regions" USING btree ("reported_at");--> statement-breakpoint
CREATE INDEX "usage_reports_received_at_idx" ON "latchkey"."usage_reports" USING btree ("received_at");