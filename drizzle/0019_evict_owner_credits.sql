-- The cache holds whether the owner of a key has credits at all, so that change is sent. It does not hold how
-- many are left, so a charge never notifies (docs/decisions/0006).
CREATE TRIGGER owner_credits_evict_insert_user AFTER INSERT ON latchkey.owner_credits FOR EACH ROW
  WHEN (NEW.user_id IS NOT NULL) EXECUTE FUNCTION latchkey.evict_new('user', 'owner_id');
--> statement-breakpoint
CREATE TRIGGER owner_credits_evict_insert_account AFTER INSERT ON latchkey.owner_credits FOR EACH ROW
  WHEN (NEW.service_account_id IS NOT NULL) EXECUTE FUNCTION latchkey.evict_new('service_account', 'owner_id');
--> statement-breakpoint
CREATE TRIGGER owner_credits_evict_delete_user AFTER DELETE ON latchkey.owner_credits FOR EACH ROW
  WHEN (OLD.user_id IS NOT NULL) EXECUTE FUNCTION latchkey.evict('user', 'owner_id');
--> statement-breakpoint
CREATE TRIGGER owner_credits_evict_delete_account AFTER DELETE ON latchkey.owner_credits FOR EACH ROW
  WHEN (OLD.service_account_id IS NOT NULL) EXECUTE FUNCTION latchkey.evict('service_account', 'owner_id');
--> statement-breakpoint
CREATE TRIGGER owner_credits_evict_truncate AFTER TRUNCATE ON latchkey.owner_credits
  EXECUTE FUNCTION latchkey.evict_all();
--> statement-breakpoint
ALTER TABLE latchkey.owner_credits ENABLE ALWAYS TRIGGER owner_credits_evict_insert_user;
--> statement-breakpoint
ALTER TABLE latchkey.owner_credits ENABLE ALWAYS TRIGGER owner_credits_evict_insert_account;
--> statement-breakpoint
ALTER TABLE latchkey.owner_credits ENABLE ALWAYS TRIGGER owner_credits_evict_delete_user;
--> statement-breakpoint
ALTER TABLE latchkey.owner_credits ENABLE ALWAYS TRIGGER owner_credits_evict_delete_account;
--> statement-breakpoint
ALTER TABLE latchkey.owner_credits ENABLE ALWAYS TRIGGER owner_credits_evict_truncate;
