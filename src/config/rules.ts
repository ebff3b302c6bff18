import type { Config } from './config.ts'
import { isLoopback } from './network.ts'
import type { Reader } from './reader.ts'
import { warningsOfRegion } from './region.ts'
import { MAKE_SECRET_KEY } from './secrets.ts'

/** Checks the rules that concern several settings together, and adds their faults to `read`. */
export function checkTogether(config: Config, read: Reader): void {
  const hasDatabase = read.text('DATABASE_URL') !== null
  if (hasDatabase && config.secretKey === null && config.mode === 'serve') {
    read.fault(`SECRET_KEY is needed with DATABASE_URL; make one with: ${MAKE_SECRET_KEY}`)
  }
  if (!hasDatabase && read.text('DATABASE_DIRECT_URL') !== null) {
    read.fault('DATABASE_DIRECT_URL needs DATABASE_URL beside it')
  }
  if (config.secretKeyPrevious !== null && config.secretKeyPrevious.reveal() === config.secretKey?.reveal()) {
    read.fault('SECRET_KEY_PREVIOUS must differ from SECRET_KEY')
  }
  if (config.refreshTokenExpireDays > config.sessionMaxDays) {
    read.fault('REFRESH_TOKEN_EXPIRE_DAYS must not be more than SESSION_MAX_DAYS, which ends every session')
  }
  if ((config.apiKeyDefaultExpireDays ?? 0) > (config.apiKeyMaxExpireDays ?? Number.POSITIVE_INFINITY)) {
    read.fault('API_KEY_DEFAULT_EXPIRE_DAYS must not be more than API_KEY_MAX_EXPIRE_DAYS')
  }
  if ((config.smtpUrl === null) !== (config.mailFrom === null)) {
    read.fault(
      config.smtpUrl === null ? 'MAIL_FROM needs SMTP_URL beside it' : 'SMTP_URL needs MAIL_FROM beside it',
    )
  }
  if (config.emailVerification !== 'off' && config.smtpUrl === null) {
    read.fault(`EMAIL_VERIFICATION ${config.emailVerification} needs SMTP_URL, since links are mailed`)
  }
  if (config.metricsPort === config.port) read.fault('METRICS_PORT must differ from PORT')
  if (config.metricsToken !== null && config.metricsToken.reveal() === config.secretKey?.reveal()) {
    read.fault('METRICS_TOKEN must differ from SECRET_KEY')
  }
  if (config.port === 0 && !config.publicUrlIsSet) {
    read.fault(
      'PORT 0, which lets the system choose, needs PUBLIC_URL, since the issuer must be known before',
    )
  }
}

/** Finds settings that are allowed but often a mistake. Returns one sentence for each. */
export function warningsOf(config: Config): string[] {
  const warnings: string[] = []
  if (!config.publicUrlIsSet && !isLoopback(config.host)) {
    warnings.push(
      `PUBLIC_URL is not set while HOST ${config.host} lets others in: tokens name ${config.publicUrl} as their issuer`,
    )
  }
  if (config.databaseUrl === null && !isLoopback(config.host)) {
    warnings.push(
      `DATABASE_URL is not set while HOST ${config.host} lets others in: all there is lies in the embedded database in DATA_DIR (${config.dataDir}), which one server alone can have`,
    )
  }
  const { protocol, hostname } = new URL(config.publicUrl)
  if (protocol === 'http:' && !isLoopback(hostname.replace(/^\[|\]$/g, ''))) {
    warnings.push(
      `PUBLIC_URL is plain http (${config.publicUrl}): passwords and cookies can be read on the way; use https`,
    )
  }
  if (config.trustedProxies.some((cidr) => cidr.endsWith('/0'))) {
    warnings.push('TRUSTED_PROXIES trusts every address: any client can claim any address by X-Forwarded-For')
  }
  return [...warnings, ...warningsOfRegion(config)]
}
