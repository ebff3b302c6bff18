CREATE TABLE "latchkey"."code_failures" (
	"user_id" uuid PRIMARY KEY NOT NULL,
	"failures" integer NOT NULL,
	"locked_until" timestamp with time zone,
	"last_failed_at" timestamp with time zone NOT NULL,
	CONSTRAINT "code_failures_failures_check" CHECK ("latchkey"."code_failures"."failures" >= 0)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."mailbox_counts" (
	"email_hmac" "bytea" PRIMARY KEY NOT NULL,
	"count" integer NOT NULL,
	"window_started_at" timestamp with time zone NOT NULL,
	CONSTRAINT "mailbox_counts_count_check" CHECK ("latchkey"."mailbox_counts"."count" >= 0)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."mails" (
	"id" uuid PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"recipient" text NOT NULL,
	"user_id" uuid,
	"parameters" jsonb NOT NULL,
	"token_id" uuid,
	"created_at" timestamp with time zone NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp with time zone NOT NULL,
	"ended_at" timestamp with time zone,
	"outcome" text,
	"last_error" text,
	CONSTRAINT "mails_outcome_check" CHECK ("latchkey"."mails"."outcome" IN ('sent', 'failed')),
	CONSTRAINT "mails_ended_check" CHECK (("latchkey"."mails"."ended_at" IS NULL) = ("latchkey"."mails"."outcome" IS NULL)),
	CONSTRAINT "mails_attempts_check" CHECK ("latchkey"."mails"."attempts" >= 0),
	CONSTRAINT "mails_recipient_check" CHECK (char_length("latchkey"."mails"."recipient") BETWEEN 3 AND 254),
	CONSTRAINT "mails_last_error_check" CHECK (char_length("latchkey"."mails"."last_error") <= 500)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."one_time_tokens" (
	"id" uuid PRIMARY KEY NOT NULL,
	"purpose" text NOT NULL,
	"user_id" uuid,
	"email" text,
	"issued_by" uuid,
	"hash" "bytea",
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"used_at" timestamp with time zone,
	"voided_at" timestamp with time zone,
	CONSTRAINT "one_time_tokens_purpose_check" CHECK ("latchkey"."one_time_tokens"."purpose" IN ('verify', 'change_email', 'reset', 'invite', 'setup')),
	CONSTRAINT "one_time_tokens_user_check" CHECK (("latchkey"."one_time_tokens"."purpose" = 'setup') = ("latchkey"."one_time_tokens"."user_id" IS NULL)),
	CONSTRAINT "one_time_tokens_hash_check" CHECK (("latchkey"."one_time_tokens"."purpose" = 'setup') = ("latchkey"."one_time_tokens"."hash" IS NOT NULL)),
	CONSTRAINT "one_time_tokens_hash_length_check" CHECK (octet_length("latchkey"."one_time_tokens"."hash") = 32),
	CONSTRAINT "one_time_tokens_email_check" CHECK (char_length("latchkey"."one_time_tokens"."email") BETWEEN 3 AND 254)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."passkey_challenges" (
	"challenge" "bytea" PRIMARY KEY NOT NULL,
	"purpose" text NOT NULL,
	"user_id" uuid,
	"session_id" uuid,
	"pending_step_id" uuid,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "passkey_challenges_challenge_check" CHECK (octet_length("latchkey"."passkey_challenges"."challenge") = 32),
	CONSTRAINT "passkey_challenges_purpose_check" CHECK ("latchkey"."passkey_challenges"."purpose" IN ('register', 'login', 'second_step', 'reauthenticate'))
);
--> statement-breakpoint
CREATE TABLE "latchkey"."passkeys" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"name" text NOT NULL,
	"credential_id" "bytea" NOT NULL,
	"public_key" "bytea" NOT NULL,
	"sign_count" bigint NOT NULL,
	"transports" text[] NOT NULL,
	"is_backed_up" boolean NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"last_used_at" timestamp with time zone,
	"suspended_at" timestamp with time zone,
	CONSTRAINT "passkeys_name_check" CHECK (char_length("latchkey"."passkeys"."name") BETWEEN 1 AND 100),
	CONSTRAINT "passkeys_credential_id_check" CHECK (octet_length("latchkey"."passkeys"."credential_id") BETWEEN 1 AND 1023),
	CONSTRAINT "passkeys_sign_count_check" CHECK ("latchkey"."passkeys"."sign_count" BETWEEN 0 AND 4294967295)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."pending_steps" (
	"id" uuid PRIMARY KEY NOT NULL,
	"hash" "bytea" NOT NULL,
	"user_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"scopes" text[],
	"remember" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "pending_steps_hash_check" CHECK (octet_length("latchkey"."pending_steps"."hash") = 32),
	CONSTRAINT "pending_steps_kind_check" CHECK ("latchkey"."pending_steps"."kind" IN ('api', 'browser'))
);
--> statement-breakpoint
CREATE TABLE "latchkey"."recovery_codes" (
	"hash" "bytea" PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"used_at" timestamp with time zone,
	CONSTRAINT "recovery_codes_hash_check" CHECK (octet_length("latchkey"."recovery_codes"."hash") = 32)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."totp_secrets" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"secret" "bytea" NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"confirmed_at" timestamp with time zone,
	"last_step" bigint
);
--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD COLUMN "kind" text DEFAULT 'api' NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD COLUMN "auth_time" timestamp with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD COLUMN "amr" text[] DEFAULT '{pwd}' NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD COLUMN "remember" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD COLUMN "has_second_factor" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD COLUMN "is_sign_up" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD COLUMN "first_login_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "latchkey"."code_failures" ADD CONSTRAINT "code_failures_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."mails" ADD CONSTRAINT "mails_token_id_one_time_tokens_id_fk" FOREIGN KEY ("token_id") REFERENCES "latchkey"."one_time_tokens"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."one_time_tokens" ADD CONSTRAINT "one_time_tokens_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."one_time_tokens" ADD CONSTRAINT "one_time_tokens_issued_by_users_id_fk" FOREIGN KEY ("issued_by") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."passkey_challenges" ADD CONSTRAINT "passkey_challenges_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."passkey_challenges" ADD CONSTRAINT "passkey_challenges_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "latchkey"."sessions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."passkey_challenges" ADD CONSTRAINT "passkey_challenges_pending_step_id_pending_steps_id_fk" FOREIGN KEY ("pending_step_id") REFERENCES "latchkey"."pending_steps"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."passkeys" ADD CONSTRAINT "passkeys_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."pending_steps" ADD CONSTRAINT "pending_steps_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."recovery_codes" ADD CONSTRAINT "recovery_codes_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."totp_secrets" ADD CONSTRAINT "totp_secrets_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "code_failures_last_failed_at_idx" ON "latchkey"."code_failures" USING btree ("last_failed_at");--> statement-breakpoint
CREATE INDEX "mailbox_counts_window_idx" ON "latchkey"."mailbox_counts" USING btree ("window_started_at");--> statement-breakpoint
CREATE INDEX "mails_waiting_idx" ON "latchkey"."mails" USING btree ("next_attempt_at") WHERE "latchkey"."mails"."ended_at" IS NULL;--> statement-breakpoint
CREATE INDEX "mails_user_id_idx" ON "latchkey"."mails" USING btree ("user_id","kind","created_at");--> statement-breakpoint
CREATE INDEX "mails_token_id_idx" ON "latchkey"."mails" USING btree ("token_id");--> statement-breakpoint
CREATE INDEX "mails_ended_at_idx" ON "latchkey"."mails" USING btree ("ended_at");--> statement-breakpoint
CREATE INDEX "one_time_tokens_user_id_idx" ON "latchkey"."one_time_tokens" USING btree ("user_id","purpose");--> statement-breakpoint
CREATE INDEX "one_time_tokens_issued_by_idx" ON "latchkey"."one_time_tokens" USING btree ("issued_by");--> statement-breakpoint
CREATE INDEX "one_time_tokens_expires_at_idx" ON "latchkey"."one_time_tokens" USING btree ("expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "one_time_tokens_hash_key" ON "latchkey"."one_time_tokens" USING btree ("hash");--> statement-breakpoint
CREATE INDEX "passkey_challenges_user_id_idx" ON "latchkey"."passkey_challenges" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "passkey_challenges_session_id_idx" ON "latchkey"."passkey_challenges" USING btree ("session_id");--> statement-breakpoint
CREATE INDEX "passkey_challenges_pending_step_id_idx" ON "latchkey"."passkey_challenges" USING btree ("pending_step_id");--> statement-breakpoint
CREATE INDEX "passkey_challenges_expires_at_idx" ON "latchkey"."passkey_challenges" USING btree ("expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "passkeys_credential_id_key" ON "latchkey"."passkeys" USING btree ("credential_id");--> statement-breakpoint
CREATE INDEX "passkeys_user_id_idx" ON "latchkey"."passkeys" USING btree ("user_id");--> statement-breakpoint
CREATE UNIQUE INDEX "pending_steps_hash_key" ON "latchkey"."pending_steps" USING btree ("hash");--> statement-breakpoint
CREATE INDEX "pending_steps_user_id_idx" ON "latchkey"."pending_steps" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "pending_steps_expires_at_idx" ON "latchkey"."pending_steps" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "recovery_codes_user_id_idx" ON "latchkey"."recovery_codes" USING btree ("user_id");--> statement-breakpoint
CREATE UNIQUE INDEX "totp_secrets_confirmed_key" ON "latchkey"."totp_secrets" USING btree ("user_id") WHERE "latchkey"."totp_secrets"."confirmed_at" IS NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "totp_secrets_pending_key" ON "latchkey"."totp_secrets" USING btree ("user_id") WHERE "latchkey"."totp_secrets"."confirmed_at" IS NULL;--> statement-breakpoint
CREATE INDEX "totp_secrets_user_id_idx" ON "latchkey"."totp_secrets" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "totp_secrets_created_at_idx" ON "latchkey"."totp_secrets" USING btree ("created_at") WHERE "latchkey"."totp_secrets"."confirmed_at" IS NULL;--> statement-breakpoint
CREATE INDEX "users_never_verified_idx" ON "latchkey"."users" USING btree ("created_at") WHERE "latchkey"."users"."is_sign_up" AND NOT "latchkey"."users"."email_verified" AND "latchkey"."users"."first_login_at" IS NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD CONSTRAINT "sessions_kind_check" CHECK ("latchkey"."sessions"."kind" IN ('api', 'browser'));--> statement-breakpoint
-- The person of a session from before proved who they are when it began.
UPDATE latchkey.sessions SET auth_time = created_at;
--> statement-breakpoint
-- Whether a user has a second factor, and how and when the person of a session proved who they are, decide what a
-- credential may do. A cached principal must not outlive a change of them.
DROP TRIGGER users_evict_update ON latchkey.users;
--> statement-breakpoint
CREATE TRIGGER users_evict_update AFTER UPDATE ON latchkey.users FOR EACH ROW
  WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active OR OLD.role IS DISTINCT FROM NEW.role
    OR OLD.scopes IS DISTINCT FROM NEW.scopes OR OLD.email IS DISTINCT FROM NEW.email
    OR OLD.email_verified IS DISTINCT FROM NEW.email_verified OR OLD.id IS DISTINCT FROM NEW.id
    OR OLD.has_second_factor IS DISTINCT FROM NEW.has_second_factor)
  EXECUTE FUNCTION latchkey.evict('user', 'id');
--> statement-breakpoint
ALTER TABLE latchkey.users ENABLE ALWAYS TRIGGER users_evict_update;
--> statement-breakpoint
DROP TRIGGER sessions_evict_update ON latchkey.sessions;
--> statement-breakpoint
CREATE TRIGGER sessions_evict_update AFTER UPDATE ON latchkey.sessions FOR EACH ROW
  WHEN (OLD.ended_at IS DISTINCT FROM NEW.ended_at OR OLD.expires_at IS DISTINCT FROM NEW.expires_at
    OR OLD.user_id IS DISTINCT FROM NEW.user_id OR OLD.salt IS DISTINCT FROM NEW.salt
    OR OLD.auth_time IS DISTINCT FROM NEW.auth_time OR OLD.amr IS DISTINCT FROM NEW.amr)
  EXECUTE FUNCTION latchkey.evict('session', 'id');
--> statement-breakpoint
ALTER TABLE latchkey.sessions ENABLE ALWAYS TRIGGER sessions_evict_update;
