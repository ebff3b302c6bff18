ALTER TABLE "latchkey"."api_keys" ADD COLUMN "last_used_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD COLUMN "last_ip" text;--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD COLUMN "last_user_agent" text;--> statement-breakpoint
CREATE INDEX "api_keys_created_at_idx" ON "latchkey"."api_keys" USING btree ("created_at","id");--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD CONSTRAINT "sessions_last_user_agent_check" CHECK (char_length("latchkey"."sessions"."last_user_agent") <= 255);