CREATE TABLE "latchkey"."key_refusals" (
	"key_id" uuid NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"outcome" text NOT NULL,
	"ip" text,
	"count" bigint NOT NULL,
	CONSTRAINT "key_refusals_count_check" CHECK ("latchkey"."key_refusals"."count" > 0)
);
--> statement-breakpoint
CREATE TABLE "latchkey"."usage_by_owner" (
	"owner_id" uuid NOT NULL,
	"hour" timestamp with time zone NOT NULL,
	"outcome" text NOT NULL,
	"count" bigint NOT NULL,
	CONSTRAINT "usage_by_owner_pkey" PRIMARY KEY("owner_id","hour","outcome"),
	CONSTRAINT "usage_by_owner_count_check" CHECK ("latchkey"."usage_by_owner"."count" > 0)
);
--> statement-breakpoint
ALTER TABLE "latchkey"."key_refusals" ADD CONSTRAINT "key_refusals_key_id_api_keys_id_fk" FOREIGN KEY ("key_id") REFERENCES "latchkey"."api_keys"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "key_refusals_key_id_idx" ON "latchkey"."key_refusals" USING btree ("key_id","at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "key_refusals_at_idx" ON "latchkey"."key_refusals" USING btree ("at");--> statement-breakpoint
CREATE INDEX "usage_by_owner_hour_idx" ON "latchkey"."usage_by_owner" USING btree ("hour");--> statement-breakpoint
CREATE INDEX "audit_events_request_id_idx" ON "latchkey"."audit_events" USING btree ("request_id") WHERE "latchkey"."audit_events"."request_id" IS NOT NULL;--> statement-breakpoint
-- The letters that a search compares: NFKC, in lower case. The collation is one that knows letters outside ASCII, where the
-- server has one; that of the database may know ASCII alone. An index has the functions, so that a statement names them.
DO $$
DECLARE
  known text := (
    SELECT format('COLLATE pg_catalog.%I', collname) FROM pg_catalog.pg_collation
    WHERE collnamespace = 'pg_catalog'::regnamespace AND collname IN ('pg_c_utf8', 'und-x-icu')
      AND collencoding IN (-1, pg_char_to_encoding(getdatabaseencoding()))
    ORDER BY collname LIMIT 1);
BEGIN
  EXECUTE format('CREATE FUNCTION latchkey.search_text(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(normalize(value, NFKC) %s)', known);
  EXECUTE format('CREATE FUNCTION latchkey.search_words(value text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsvector(''simple''::regconfig,
      regexp_replace(lower(normalize(value, NFKC) %1$s), ''[^[:alnum:]]+'', '' '', ''g''))', known);
END $$;
--> statement-breakpoint
CREATE INDEX api_keys_words_idx ON latchkey.api_keys
  USING gin (latchkey.search_words(COALESCE(name, '') || ' ' || COALESCE(external_id, '')));
--> statement-breakpoint
CREATE INDEX service_accounts_words_idx ON latchkey.service_accounts USING gin (latchkey.search_words(name));
--> statement-breakpoint
CREATE INDEX service_accounts_name_idx ON latchkey.service_accounts (latchkey.search_text(name) text_pattern_ops);
--> statement-breakpoint
CREATE INDEX users_words_idx ON latchkey.users USING gin (latchkey.search_words(email));
--> statement-breakpoint
CREATE INDEX users_email_idx ON latchkey.users (email text_pattern_ops);
--> statement-breakpoint
CREATE INDEX api_key_secrets_start_idx ON latchkey.api_key_secrets (start text_pattern_ops);
--> statement-breakpoint
-- The order of a list of everybody's keys by their end.
CREATE INDEX api_keys_expires_at_idx ON latchkey.api_keys (COALESCE(expires_at, 'infinity'::timestamptz), id);
