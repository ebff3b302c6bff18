CREATE TABLE "latchkey"."revoked_tokens" (
	"id" uuid PRIMARY KEY NOT NULL,
	"secret_id" uuid NOT NULL,
	"expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD COLUMN "locked_settings" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."password_resets" ADD COLUMN "created_by" uuid;--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD COLUMN "locked_settings" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD COLUMN "counts_for" uuid;--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD COLUMN "scopes" text[];--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD COLUMN "locked_settings" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."revoked_tokens" ADD CONSTRAINT "revoked_tokens_secret_id_api_key_secrets_id_fk" FOREIGN KEY ("secret_id") REFERENCES "latchkey"."api_key_secrets"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "revoked_tokens_secret_id_idx" ON "latchkey"."revoked_tokens" USING btree ("secret_id");--> statement-breakpoint
CREATE INDEX "revoked_tokens_expires_at_idx" ON "latchkey"."revoked_tokens" USING btree ("expires_at");--> statement-breakpoint
ALTER TABLE "latchkey"."password_resets" ADD CONSTRAINT "password_resets_created_by_users_id_fk" FOREIGN KEY ("created_by") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD CONSTRAINT "service_accounts_counts_for_users_id_fk" FOREIGN KEY ("counts_for") REFERENCES "latchkey"."users"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "password_resets_created_by_idx" ON "latchkey"."password_resets" USING btree ("created_by");--> statement-breakpoint
CREATE INDEX "service_accounts_counts_for_idx" ON "latchkey"."service_accounts" USING btree ("counts_for");--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD CONSTRAINT "sessions_scopes_check" CHECK (cardinality("latchkey"."sessions"."scopes") <= 50);