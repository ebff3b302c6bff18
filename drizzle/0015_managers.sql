CREATE TABLE "latchkey"."account_managers" (
	"id" uuid PRIMARY KEY NOT NULL,
	"service_account_id" uuid NOT NULL,
	"user_id" uuid,
	"manager_account_id" uuid,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "account_managers_manager_check" CHECK (num_nonnulls("latchkey"."account_managers"."user_id", "latchkey"."account_managers"."manager_account_id") = 1)
);
--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD COLUMN "external_id" text;--> statement-breakpoint
ALTER TABLE "latchkey"."account_managers" ADD CONSTRAINT "account_managers_service_account_id_service_accounts_id_fk" FOREIGN KEY ("service_account_id") REFERENCES "latchkey"."service_accounts"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."account_managers" ADD CONSTRAINT "account_managers_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "latchkey"."account_managers" ADD CONSTRAINT "account_managers_manager_account_id_service_accounts_id_fk" FOREIGN KEY ("manager_account_id") REFERENCES "latchkey"."service_accounts"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "account_managers_user_key" ON "latchkey"."account_managers" USING btree ("service_account_id","user_id");--> statement-breakpoint
CREATE UNIQUE INDEX "account_managers_account_key" ON "latchkey"."account_managers" USING btree ("service_account_id","manager_account_id");--> statement-breakpoint
CREATE INDEX "account_managers_user_id_idx" ON "latchkey"."account_managers" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "account_managers_manager_account_id_idx" ON "latchkey"."account_managers" USING btree ("manager_account_id");--> statement-breakpoint
CREATE UNIQUE INDEX "service_accounts_external_id_key" ON "latchkey"."service_accounts" USING btree ("external_id");--> statement-breakpoint
ALTER TABLE "latchkey"."service_accounts" ADD CONSTRAINT "service_accounts_external_id_check" CHECK (char_length("latchkey"."service_accounts"."external_id") BETWEEN 1 AND 255);
--> statement-breakpoint
-- Until now an account was managed by the user who made it.
INSERT INTO latchkey.account_managers (id, service_account_id, user_id, created_at)
  SELECT gen_random_uuid(), id, created_by, created_at FROM latchkey.service_accounts WHERE created_by IS NOT NULL;
--> statement-breakpoint
-- External ids are compared in NFC.
UPDATE latchkey.api_keys SET external_id = normalize(external_id, NFC)
  WHERE external_id IS NOT NFC NORMALIZED AND char_length(normalize(external_id, NFC)) <= 255;
--> statement-breakpoint
-- A cached key has the external id of its service account, where it has none of its own.
DROP TRIGGER service_accounts_evict_update ON latchkey.service_accounts;
--> statement-breakpoint
CREATE TRIGGER service_accounts_evict_update AFTER UPDATE ON latchkey.service_accounts FOR EACH ROW
  WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active OR OLD.scopes IS DISTINCT FROM NEW.scopes
    OR OLD.name IS DISTINCT FROM NEW.name OR OLD.external_id IS DISTINCT FROM NEW.external_id
    OR OLD.id IS DISTINCT FROM NEW.id)
  EXECUTE FUNCTION latchkey.evict('service_account', 'id');
--> statement-breakpoint
ALTER TABLE latchkey.service_accounts ENABLE ALWAYS TRIGGER service_accounts_evict_update;
--> statement-breakpoint
-- Keys are found by the external id of their account too.
CREATE INDEX service_accounts_external_words_idx ON latchkey.service_accounts
  USING gin (latchkey.search_words(COALESCE(external_id, '')));
