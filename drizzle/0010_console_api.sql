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
