CREATE TABLE "latchkey"."oauth_client_secrets" (
	"id" uuid PRIMARY KEY NOT NULL,
	"client_id" uuid NOT NULL,
	"hash" "bytea" NOT NULL,
	"start" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone,
	"last_used_at" timestamp with time zone,
	CONSTRAINT "oauth_client_secrets_hash_check" CHECK (octet_length("latchkey"."oauth_client_secrets"."hash") = 32)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."oauth_clients" (
	"id" uuid PRIMARY KEY NOT NULL,
	"client_id" text NOT NULL,
	"source" text NOT NULL,
	"kind" text NOT NULL,
	"name" text NOT NULL,
	"redirect_uris" text[] NOT NULL,
	"post_logout_redirect_uris" text[] DEFAULT '{}' NOT NULL,
	"grants" text[] NOT NULL,
	"scopes" text[],
	"first_party" boolean DEFAULT false NOT NULL,
	"is_active" boolean DEFAULT true NOT NULL,
	"jwks" jsonb,
	"jwks_uri" text,
	"created_at" timestamp with time zone NOT NULL,
	"created_by" uuid,
	"last_used_at" timestamp with time zone,
	CONSTRAINT "oauth_clients_client_id_check" CHECK (char_length("latchkey"."oauth_clients"."client_id") BETWEEN 1 AND 500),
	CONSTRAINT "oauth_clients_source_check" CHECK ("latchkey"."oauth_clients"."source" IN ('registered', 'metadata', 'dynamic')),
	CONSTRAINT "oauth_clients_kind_check" CHECK ("latchkey"."oauth_clients"."kind" IN ('public', 'confidential')),
	CONSTRAINT "oauth_clients_name_check" CHECK (char_length("latchkey"."oauth_clients"."name") BETWEEN 1 AND 100),
	CONSTRAINT "oauth_clients_redirect_uris_check" CHECK (cardinality("latchkey"."oauth_clients"."redirect_uris") <= 20),
	CONSTRAINT "oauth_clients_scopes_check" CHECK (cardinality("latchkey"."oauth_clients"."scopes") <= 50),
	CONSTRAINT "oauth_clients_keys_check" CHECK (num_nonnulls("latchkey"."oauth_clients"."jwks", "latchkey"."oauth_clients"."jwks_uri") <= 1)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."oauth_grants" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"client_id" uuid NOT NULL,
	"audience" text NOT NULL,
	"resource_id" uuid,
	"scopes" text[] NOT NULL,
	"first_allowed_at" timestamp with time zone NOT NULL,
	"last_allowed_at" timestamp with time zone NOT NULL,
	"last_used_at" timestamp with time zone,
	CONSTRAINT "oauth_grants_audience_check" CHECK ("latchkey"."oauth_grants"."audience" IN ('resource', 'latchkey', 'userinfo', 'users') AND ("latchkey"."oauth_grants"."audience" = 'resource') = ("latchkey"."oauth_grants"."resource_id" IS NOT NULL))
);
--> statement-breakpoint
CREATE TABLE "latchkey"."resources" (
	"id" uuid PRIMARY KEY NOT NULL,
	"identifier" text NOT NULL,
	"slug" text NOT NULL,
	"name" text NOT NULL,
	"scopes" jsonb NOT NULL,
	"token_lifetime_seconds" integer,
	"is_active" boolean DEFAULT true NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"created_by" uuid,
	CONSTRAINT "resources_identifier_check" CHECK (char_length("latchkey"."resources"."identifier") BETWEEN 1 AND 500),
	CONSTRAINT "resources_slug_check" CHECK ("latchkey"."resources"."slug" ~ '^[a-z0-9-]{1,50}$' AND "latchkey"."resources"."slug" <> 'latchkey'),
	CONSTRAINT "resources_name_check" CHECK (char_length("latchkey"."resources"."name") BETWEEN 1 AND 100),
	CONSTRAINT "resources_lifetime_check" CHECK ("latchkey"."resources"."token_lifetime_seconds" BETWEEN 60 AND 3600)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."used_assertions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"client_id" uuid NOT NULL,
	"hash" "bytea" NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "used_assertions_hash_check" CHECK (octet_length("latchkey"."used_assertions"."hash") = 32)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."authorization_codes" (
	"id" uuid PRIMARY KEY NOT NULL,
	"hash" "bytea" NOT NULL,
	"grant_id" uuid NOT NULL,
	"session_id" uuid NOT NULL,
	"redirect_uri" text NOT NULL,
	"code_challenge" text NOT NULL,
	"nonce" text,
	"scopes" text[],
	"identity_scopes" text[] NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"used_at" timestamp with time zone,
	"made_session_id" uuid,
	CONSTRAINT "authorization_codes_hash_check" CHECK (octet_length("latchkey"."authorization_codes"."hash") = 32)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."authorization_requests" (
	"id" uuid PRIMARY KEY NOT NULL,
	"session_id" uuid NOT NULL,
	"client_id" uuid NOT NULL,
	"redirect_uri" text NOT NULL,
	"audience" text NOT NULL,
	"resource_id" uuid,
	"scopes" text[] NOT NULL,
	"state" text,
	"nonce" text,
	"code_challenge" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"used_at" timestamp with time zone,
	CONSTRAINT "authorization_requests_audience_check" CHECK ("latchkey"."authorization_requests"."audience" IN ('resource', 'latchkey', 'userinfo', 'users') AND ("latchkey"."authorization_requests"."audience" = 'resource') = ("latchkey"."authorization_requests"."resource_id" IS NOT NULL))
);
--> statement-breakpoint
CREATE TABLE "latchkey"."device_codes" (
	"id" uuid PRIMARY KEY NOT NULL,
	"hash" "bytea" NOT NULL,
	"user_code" text NOT NULL,
	"client_id" uuid NOT NULL,
	"audience" text NOT NULL,
	"resource_id" uuid,
	"scopes" text[] NOT NULL,
	"ip" text,
	"user_agent" text,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"interval_seconds" integer NOT NULL,
	"last_polled_at" timestamp with time zone,
	"denied_at" timestamp with time zone,
	"grant_id" uuid,
	"session_id" uuid,
	"allowed_scopes" text[],
	"used_at" timestamp with time zone,
	CONSTRAINT "device_codes_hash_check" CHECK (octet_length("latchkey"."device_codes"."hash") = 32),
	CONSTRAINT "device_codes_audience_check" CHECK ("latchkey"."device_codes"."audience" IN ('resource', 'latchkey', 'userinfo', 'users') AND ("latchkey"."device_codes"."audience" = 'resource') = ("latchkey"."device_codes"."resource_id" IS NOT NULL))
);
--> statement-breakpoint
ALTER TABLE "latchkey"."audit_events" DROP CONSTRAINT "audit_events_actor_type_check";--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" DROP CONSTRAINT "sessions_kind_check";--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD COLUMN "grant_id" uuid;--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD COLUMN "identity_scopes" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "latchkey"."oauth_client_secrets" ADD CONSTRAINT "oauth_client_secrets_client_id_oauth_clients_id_fk" FOREIGN KEY ("client_id") REFERENCES "latchkey"."oauth_clients"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."oauth_clients" ADD CONSTRAINT "oauth_clients_created_by_users_id_fk" FOREIGN KEY ("created_by") REFERENCES "latchkey"."users"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."oauth_grants" ADD CONSTRAINT "oauth_grants_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."oauth_grants" ADD CONSTRAINT "oauth_grants_client_id_oauth_clients_id_fk" FOREIGN KEY ("client_id") REFERENCES "latchkey"."oauth_clients"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."oauth_grants" ADD CONSTRAINT "oauth_grants_resource_id_resources_id_fk" FOREIGN KEY ("resource_id") REFERENCES "latchkey"."resources"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."resources" ADD CONSTRAINT "resources_created_by_users_id_fk" FOREIGN KEY ("created_by") REFERENCES "latchkey"."users"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."used_assertions" ADD CONSTRAINT "used_assertions_client_id_oauth_clients_id_fk" FOREIGN KEY ("client_id") REFERENCES "latchkey"."oauth_clients"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."authorization_codes" ADD CONSTRAINT "authorization_codes_grant_id_oauth_grants_id_fk" FOREIGN KEY ("grant_id") REFERENCES "latchkey"."oauth_grants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."authorization_codes" ADD CONSTRAINT "authorization_codes_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "latchkey"."sessions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."authorization_codes" ADD CONSTRAINT "authorization_codes_made_session_id_sessions_id_fk" FOREIGN KEY ("made_session_id") REFERENCES "latchkey"."sessions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."authorization_requests" ADD CONSTRAINT "authorization_requests_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "latchkey"."sessions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."authorization_requests" ADD CONSTRAINT "authorization_requests_client_id_oauth_clients_id_fk" FOREIGN KEY ("client_id") REFERENCES "latchkey"."oauth_clients"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."authorization_requests" ADD CONSTRAINT "authorization_requests_resource_id_resources_id_fk" FOREIGN KEY ("resource_id") REFERENCES "latchkey"."resources"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."device_codes" ADD CONSTRAINT "device_codes_client_id_oauth_clients_id_fk" FOREIGN KEY ("client_id") REFERENCES "latchkey"."oauth_clients"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."device_codes" ADD CONSTRAINT "device_codes_resource_id_resources_id_fk" FOREIGN KEY ("resource_id") REFERENCES "latchkey"."resources"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."device_codes" ADD CONSTRAINT "device_codes_grant_id_oauth_grants_id_fk" FOREIGN KEY ("grant_id") REFERENCES "latchkey"."oauth_grants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."device_codes" ADD CONSTRAINT "device_codes_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "latchkey"."sessions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "oauth_client_secrets_hash_key" ON "latchkey"."oauth_client_secrets" USING btree ("hash");--> statement-breakpoint
CREATE INDEX "oauth_client_secrets_client_id_idx" ON "latchkey"."oauth_client_secrets" USING btree ("client_id");--> statement-breakpoint
CREATE UNIQUE INDEX "oauth_clients_client_id_key" ON "latchkey"."oauth_clients" USING btree ("client_id");--> statement-breakpoint
CREATE INDEX "oauth_clients_created_by_idx" ON "latchkey"."oauth_clients" USING btree ("created_by");--> statement-breakpoint
CREATE INDEX "oauth_clients_source_idx" ON "latchkey"."oauth_clients" USING btree ("source","last_used_at");--> statement-breakpoint
CREATE UNIQUE INDEX "oauth_grants_resource_key" ON "latchkey"."oauth_grants" USING btree ("user_id","client_id","resource_id") WHERE "latchkey"."oauth_grants"."resource_id" IS NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "oauth_grants_audience_key" ON "latchkey"."oauth_grants" USING btree ("user_id","client_id","audience") WHERE "latchkey"."oauth_grants"."resource_id" IS NULL;--> statement-breakpoint
CREATE INDEX "oauth_grants_user_id_idx" ON "latchkey"."oauth_grants" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "oauth_grants_client_id_idx" ON "latchkey"."oauth_grants" USING btree ("client_id");--> statement-breakpoint
CREATE INDEX "oauth_grants_resource_id_idx" ON "latchkey"."oauth_grants" USING btree ("resource_id");--> statement-breakpoint
CREATE UNIQUE INDEX "resources_identifier_key" ON "latchkey"."resources" USING btree ("identifier");--> statement-breakpoint
CREATE UNIQUE INDEX "resources_slug_key" ON "latchkey"."resources" USING btree ("slug");--> statement-breakpoint
CREATE INDEX "resources_created_by_idx" ON "latchkey"."resources" USING btree ("created_by");--> statement-breakpoint
CREATE UNIQUE INDEX "used_assertions_key" ON "latchkey"."used_assertions" USING btree ("client_id","hash");--> statement-breakpoint
CREATE INDEX "used_assertions_expires_at_idx" ON "latchkey"."used_assertions" USING btree ("expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "authorization_codes_hash_key" ON "latchkey"."authorization_codes" USING btree ("hash");--> statement-breakpoint
CREATE INDEX "authorization_codes_grant_id_idx" ON "latchkey"."authorization_codes" USING btree ("grant_id");--> statement-breakpoint
CREATE INDEX "authorization_codes_session_id_idx" ON "latchkey"."authorization_codes" USING btree ("session_id");--> statement-breakpoint
CREATE INDEX "authorization_codes_made_session_id_idx" ON "latchkey"."authorization_codes" USING btree ("made_session_id");--> statement-breakpoint
CREATE INDEX "authorization_codes_expires_at_idx" ON "latchkey"."authorization_codes" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "authorization_requests_session_id_idx" ON "latchkey"."authorization_requests" USING btree ("session_id");--> statement-breakpoint
CREATE INDEX "authorization_requests_client_id_idx" ON "latchkey"."authorization_requests" USING btree ("client_id");--> statement-breakpoint
CREATE INDEX "authorization_requests_resource_id_idx" ON "latchkey"."authorization_requests" USING btree ("resource_id");--> statement-breakpoint
CREATE INDEX "authorization_requests_expires_at_idx" ON "latchkey"."authorization_requests" USING btree ("expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "device_codes_hash_key" ON "latchkey"."device_codes" USING btree ("hash");--> statement-breakpoint
CREATE UNIQUE INDEX "device_codes_user_code_key" ON "latchkey"."device_codes" USING btree ("user_code");--> statement-breakpoint
CREATE INDEX "device_codes_client_id_idx" ON "latchkey"."device_codes" USING btree ("client_id");--> statement-breakpoint
CREATE INDEX "device_codes_resource_id_idx" ON "latchkey"."device_codes" USING btree ("resource_id");--> statement-breakpoint
CREATE INDEX "device_codes_grant_id_idx" ON "latchkey"."device_codes" USING btree ("grant_id");--> statement-breakpoint
CREATE INDEX "device_codes_session_id_idx" ON "latchkey"."device_codes" USING btree ("session_id");--> statement-breakpoint
CREATE INDEX "device_codes_expires_at_idx" ON "latchkey"."device_codes" USING btree ("expires_at");--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD CONSTRAINT "sessions_grant_id_oauth_grants_id_fk" FOREIGN KEY ("grant_id") REFERENCES "latchkey"."oauth_grants"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "sessions_grant_id_idx" ON "latchkey"."sessions" USING btree ("grant_id");--> statement-breakpoint
ALTER TABLE "latchkey"."audit_events" ADD CONSTRAINT "audit_events_actor_type_check" CHECK ("latchkey"."audit_events"."actor_type" IN ('user', 'key', 'service_account', 'client', 'portal', 'anonymous', 'system'));--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD CONSTRAINT "sessions_grant_check" CHECK ("latchkey"."sessions"."grant_id" IS NULL OR "latchkey"."sessions"."kind" = 'client');--> statement-breakpoint
ALTER TABLE "latchkey"."sessions" ADD CONSTRAINT "sessions_kind_check" CHECK ("latchkey"."sessions"."kind" IN ('api', 'browser', 'client'));