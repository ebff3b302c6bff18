CREATE TABLE "latchkey"."password_resets" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"hash" "bytea" NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "password_resets_hash_check" CHECK (octet_length("latchkey"."password_resets"."hash") = 32)
);
--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD COLUMN "password_changed_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "latchkey"."password_resets" ADD CONSTRAINT "password_resets_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "password_resets_hash_key" ON "latchkey"."password_resets" USING btree ("hash");--> statement-breakpoint
CREATE INDEX "password_resets_user_id_idx" ON "latchkey"."password_resets" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "password_resets_expires_at_idx" ON "latchkey"."password_resets" USING btree ("expires_at");