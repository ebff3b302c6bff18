import type { Config } from '../../config/config.ts'
import { createSendMail, type SendMail } from './smtp.ts'
import { readWordings, type Wordings } from './wordings.ts'

/** What a running service sends mails with. */
export type Mail = {
  /** Whether SMTP_URL is set; without it no mail is written. */
  isOn: boolean
  wordings: Wordings
  send: SendMail
  /** Tells the job that a mail may be waiting. */
  wake(): void
  /** Sets the function that `wake` calls. A later call replaces it. */
  onWake(listener: () => void): void
}

/**
 * Reads the templates, and connects to nothing yet.
 * @throws Error in one sentence where MAIL_TEMPLATES is not as it has to be
 */
export async function openMail(config: Config): Promise<Mail> {
  let wake = () => {}
  return {
    isOn: config.smtpUrl !== null,
    wordings: await readWordings(config.mailTemplates, config.brandAccent),
    send: createSendMail(config),
    wake: () => wake(),
    onWake(listener) {
      wake = listener
    },
  }
}
