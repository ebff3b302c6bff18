CREATE TABLE "latchkey"."exports" (
	"admin_id" uuid PRIMARY KEY NOT NULL,
	"id" uuid NOT NULL,
	"expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "latchkey"."exports" ADD CONSTRAINT "exports_admin_id_users_id_fk" FOREIGN KEY ("admin_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "exports_expires_at_idx" ON "latchkey"."exports" USING btree ("expires_at");