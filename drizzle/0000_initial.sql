CREATE TABLE "latchkey"."api_key_secrets" (
	"id" uuid PRIMARY KEY NOT NULL,
	"key_id" uuid NOT NULL,
	"hash" "bytea" NOT NULL,
	"start" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone,
	"last_used_at" timestamp with time zone,
	CONSTRAINT "api_key_secrets_hash_check" CHECK (octet_length("latchkey"."api_key_secrets"."hash") = 32),
	CONSTRAINT "api_key_secrets_start_check" CHECK (char_length("latchkey"."api_key_secrets"."start") <= 32)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."api_keys" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid,
	"service_account_id" uuid,
	"name" text,
	"scopes" text[] NOT NULL,
	"is_active" boolean DEFAULT true NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"created_by" uuid,
	"expires_at" timestamp with time zone,
	"revoked_at" timestamp with time zone,
	"revoked_reason" text,
	CONSTRAINT "api_keys_owner_check" CHECK (num_nonnulls("latchkey"."api_keys"."user_id", "latchkey"."api_keys"."service_account_id") = 1),
	CONSTRAINT "api_keys_name_check" CHECK (char_length("latchkey"."api_keys"."name") <= 100),
	CONSTRAINT "api_keys_scopes_check" CHECK (cardinality("latchkey"."api_keys"."scopes") <= 50),
	CONSTRAINT "api_keys_revoked_reason_check" CHECK (char_length("latchkey"."api_keys"."revoked_reason") <= 500)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."audit_events" (
	"id" uuid PRIMARY KEY NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"action" text NOT NULL,
	"outcome" text NOT NULL,
	"actor_type" text NOT NULL,
	"actor_id" uuid,
	"target_type" text,
	"target_id" text,
	"ip" text,
	"request_id" text,
	"details" jsonb NOT NULL,
	CONSTRAINT "audit_events_outcome_check" CHECK ("latchkey"."audit_events"."outcome" IN ('success', 'refused')),
	CONSTRAINT "audit_events_actor_type_check" CHECK ("latchkey"."audit_events"."actor_type" IN ('user', 'key', 'service_account', 'anonymous', 'system'))
);
--> statement-breakpoint
CREATE TABLE "latchkey"."login_attempts" (
	"email_hmac" "bytea" PRIMARY KEY NOT NULL,
	"attempts" integer NOT NULL,
	"window_started_at" timestamp with time zone NOT NULL,
	CONSTRAINT "login_attempts_attempts_check" CHECK ("latchkey"."login_attempts"."attempts" >= 0)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."service_accounts" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"description" text,
	"scopes" text[] NOT NULL,
	"is_active" boolean DEFAULT true NOT NULL,
	"created_by" uuid,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "service_accounts_name_check" CHECK (char_length("latchkey"."service_accounts"."name") BETWEEN 1 AND 100),
	CONSTRAINT "service_accounts_description_check" CHECK (char_length("latchkey"."service_accounts"."description") <= 500),
	CONSTRAINT "service_accounts_scopes_check" CHECK (cardinality("latchkey"."service_accounts"."scopes") <= 50)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."sessions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"salt" "bytea" NOT NULL,
	"generation" bigint DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"rotated_at" timestamp with time zone NOT NULL,
	"idle_expires_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"ended_at" timestamp with time zone,
	"ended_reason" text,
	"ip" text,
	"user_agent" text,
	CONSTRAINT "sessions_salt_check" CHECK (octet_length("latchkey"."sessions"."salt") = 16),
	CONSTRAINT "sessions_generation_check" CHECK ("latchkey"."sessions"."generation" BETWEEN 0 AND 4294967295),
	CONSTRAINT "sessions_user_agent_check" CHECK (char_length("latchkey"."sessions"."user_agent") <= 255)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."signing_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"algorithm" text NOT NULL,
	"public_jwk" jsonb NOT NULL,
	"private_key" "bytea" NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"signs_from" timestamp with time zone NOT NULL,
	"revoked_at" timestamp with time zone,
	CONSTRAINT "signing_keys_algorithm_check" CHECK ("latchkey"."signing_keys"."algorithm" IN ('ES256', 'RS256', 'EdDSA'))
);
--> statement-breakpoint
CREATE TABLE "latchkey"."users" (
	"id" uuid PRIMARY KEY NOT NULL,
	"email" text NOT NULL,
	"email_verified" boolean DEFAULT false NOT NULL,
	"password_hash" text,
	"role" text DEFAULT 'user' NOT NULL,
	"is_active" boolean DEFAULT true NOT NULL,
	"scopes" text[],
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "users_role_check" CHECK ("latchkey"."users"."role" IN ('admin', 'user')),
	CONSTRAINT "users_email_check" CHECK (char_length("latchkey"."users"."email") BETWEEN 3 AND 254),
	CONSTRAINT "users_scopes_check" CHECK (cardinality("latchkey"."users"."scopes") <= 50)
);
--> statement-breakpoint
ALTER TABLE "latchkey"."api_key_secrets" ADD CONSTRAINT "api_key_secrets_key_id_api_keys_id_fk" FOREIGN KEY ("key_id") REFERENCES "latchkey"."api_keys"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."api_keys" ADD CONSTRAINT "api_keys_service_account_id_service_accounts_id_fk" FOREIGN KEY ("service_account_id") REFERENCES "latchkey"."service_accounts"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD CONSTRAINT "service_accounts_created_by_users_id_fk" FOREIGN KEY ("created_by") REFERENCES "latchkey"."users"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD CONSTRAINT "sessions_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "api_key_secrets_hash_key" ON "latchkey"."api_key_secrets" USING btree ("hash");--> statement-breakpoint
CREATE INDEX "api_key_secrets_key_id_idx" ON "latchkey"."api_key_secrets" USING btree ("key_id");--> statement-breakpoint
CREATE INDEX "api_keys_user_id_idx" ON "latchkey"."api_keys" USING btree ("user_id","created_at");--> statement-breakpoint
CREATE INDEX "api_keys_service_account_id_idx" ON "latchkey"."api_keys" USING btree ("service_account_id","created_at");--> statement-breakpoint
CREATE INDEX "api_keys_created_by_idx" ON "latchkey"."api_keys" USING btree ("created_by");--> statement-breakpoint
CREATE INDEX "audit_events_at_idx" ON "latchkey"."audit_events" USING btree ("at");--> statement-breakpoint
CREATE INDEX "audit_events_actor_idx" ON "latchkey"."audit_events" USING btree ("actor_id","at");--> statement-breakpoint
CREATE INDEX "audit_events_target_idx" ON "latchkey"."audit_events" USING btree ("target_id","at");--> statement-breakpoint
CREATE INDEX "audit_events_action_idx" ON "latchkey"."audit_events" USING btree ("action","at");--> statement-breakpoint
CREATE INDEX "login_attempts_window_idx" ON "latchkey"."login_attempts" USING btree ("window_started_at");--> statement-breakpoint
CREATE INDEX "service_accounts_created_by_idx" ON "latchkey"."service_accounts" USING btree ("created_by");--> statement-breakpoint
CREATE INDEX "sessions_user_id_idx" ON "latchkey"."sessions" USING btree ("user_id","created_at");--> statement-breakpoint
CREATE INDEX "sessions_expires_at_idx" ON "latchkey"."sessions" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "signing_keys_current_idx" ON "latchkey"."signing_keys" USING btree ("algorithm","signs_from");--> statement-breakpoint
CREATE UNIQUE INDEX "users_email_key" ON "latchkey"."users" USING btree ("email");--> statement-breakpoint
CREATE INDEX "users_active_admins_idx" ON "latchkey"."users" USING btree ("id") WHERE "latchkey"."users"."role" = 'admin' AND "latchkey"."users"."is_active";