CREATE TABLE "latchkey"."portal_sessions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid,
	"service_account_id" uuid,
	"made_by_user" uuid,
	"made_by_key" uuid,
	"scopes" text[] NOT NULL,
	"may" text[] NOT NULL,
	"return_url" text,
	"link_hash" "bytea" NOT NULL,
	"link_expires_at" timestamp with time zone NOT NULL,
	"bearer_hash" "bytea",
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"ended_at" timestamp with time zone,
	CONSTRAINT "portal_sessions_owner_check" CHECK (num_nonnulls("latchkey"."portal_sessions"."user_id", "latchkey"."portal_sessions"."service_account_id") = 1),
	CONSTRAINT "portal_sessions_maker_check" CHECK (num_nonnulls("latchkey"."portal_sessions"."made_by_user", "latchkey"."portal_sessions"."made_by_key") = 1),
	CONSTRAINT "portal_sessions_scopes_check" CHECK (cardinality("latchkey"."portal_sessions"."scopes") <= 50),
	CONSTRAINT "portal_sessions_may_check" CHECK ('read' = ANY ("latchkey"."portal_sessions"."may") AND "latchkey"."portal_sessions"."may" <@ ARRAY['read', 'create', 'rotate', 'revoke']),
	CONSTRAINT "portal_sessions_return_url_check" CHECK (char_length("latchkey"."portal_sessions"."return_url") <= 2048),
	CONSTRAINT "portal_sessions_link_hash_check" CHECK (octet_length("latchkey"."portal_sessions"."link_hash") = 32),
	CONSTRAINT "portal_sessions_bearer_hash_check" CHECK (octet_length("latchkey"."portal_sessions"."bearer_hash") = 32)
);
--> statement-breakpoint
ALTER TABLE "latchkey"."audit_events" DROP CONSTRAINT "audit_events_actor_type_check";--> statement-breakpoint
ALTER TABLE "latchkey"."portal_sessions" ADD CONSTRAINT "portal_sessions_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."portal_sessions" ADD CONSTRAINT "portal_sessions_service_account_id_service_accounts_id_fk" FOREIGN KEY ("service_account_id") REFERENCES "latchkey"."service_accounts"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."portal_sessions" ADD CONSTRAINT "portal_sessions_made_by_user_users_id_fk" FOREIGN KEY ("made_by_user") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."portal_sessions" ADD CONSTRAINT "portal_sessions_made_by_key_api_keys_id_fk" FOREIGN KEY ("made_by_key") REFERENCES "latchkey"."api_keys"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "portal_sessions_link_hash_key" ON "latchkey"."portal_sessions" USING btree ("link_hash");--> statement-breakpoint
CREATE UNIQUE INDEX "portal_sessions_bearer_hash_key" ON "latchkey"."portal_sessions" USING btree ("bearer_hash");--> statement-breakpoint
CREATE INDEX "portal_sessions_user_id_idx" ON "latchkey"."portal_sessions" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "portal_sessions_service_account_id_idx" ON "latchkey"."portal_sessions" USING btree ("service_account_id");--> statement-breakpoint
CREATE INDEX "portal_sessions_made_by_user_idx" ON "latchkey"."portal_sessions" USING btree ("made_by_user");--> statement-breakpoint
CREATE INDEX "portal_sessions_made_by_key_idx" ON "latchkey"."portal_sessions" USING btree ("made_by_key");--> statement-breakpoint
CREATE INDEX "portal_sessions_expires_at_idx" ON "latchkey"."portal_sessions" USING btree ("expires_at");--> statement-breakpoint
-- NOT VALID: every row passed the narrower check before, and reading a large trail again would hold up its writers.
ALTER TABLE "latchkey"."audit_events" ADD CONSTRAINT "audit_events_actor_type_check" CHECK ("latchkey"."audit_events"."actor_type" IN ('user', 'key', 'service_account', 'portal', 'anonymous', 'system')) NOT VALID;