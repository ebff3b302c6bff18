import { useState } from 'react'
import { changesOf } from '../lib/change.ts'
import type { Credits, Interval, Limited, LimitPatch, Refill } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Field, Select } from './field.tsx'
import { textIn } from './form.tsx'

const { fields: words } = texts
const DEFAULT_WINDOW = 60
/** What a refill is where it does not say so. Such members are not sent, so that what was not touched is no change. */
const DEFAULTS = { day: 1, hour: 0, time_zone: 'UTC', mode: 'set' }
const HOURS = Array.from({ length: 24 }, (_, hour) => [String(hour), `${hour}:00`] as const)
const DAYS = texts.limits.days.map((day, at) => [String(at + 1), day] as const)

/** The rate limit and the credits of a key, a user or a service account. */
export function LimitFields({ of }: { of?: Limited }) {
  const { rate_limit: rate, credits } = of ?? {}
  const [remaining, setRemaining] = useState(String(credits?.remaining ?? ''))
  const [interval, setInterval] = useState<Interval | ''>(credits?.refill?.interval ?? '')
  return (
    <>
      <div className="row">
        <Field
          label={words.rateLimit}
          hint={words.rateLimitHint}
          name="limit"
          path="/rate_limit"
          type="number"
          min={1}
          defaultValue={rate?.limit}
        />
        <Field
          label={words.window}
          name="window"
          type="number"
          min={1}
          defaultValue={rate?.window_seconds ?? DEFAULT_WINDOW}
        />
      </div>
      <div className="row">
        <Field
          label={words.credits}
          hint={words.creditsHint}
          name="credits"
          path="/credits/remaining"
          type="number"
          min={0}
          value={remaining}
          onChange={({ target }) => setRemaining(target.value)}
        />
        {remaining !== '' && (
          <Select
            label={words.refill}
            name="refill"
            value={interval}
            onChange={({ target }) => setInterval(target.value as Interval | '')}
            options={Object.entries(words.refills)}
          />
        )}
      </div>
      {remaining !== '' && interval !== '' && (
        <RefillFields key={interval} interval={interval} of={credits?.refill} />
      )}
    </>
  )
}

function RefillFields({ interval, of: refill }: { interval: Interval; of: Refill | null | undefined }) {
  const [mode, setMode] = useState<string>(refill?.mode ?? DEFAULTS.mode)
  const day = (refill?.interval === interval && refill.day) || DEFAULTS.day
  return (
    <div className="row">
      <Select
        label={words.refillMode}
        name="mode"
        value={mode}
        onChange={({ target }) => setMode(target.value)}
        options={Object.entries(words.refillModes)}
      />
      <Field
        label={words.refillAmount}
        name="amount"
        path="/credits/refill/amount"
        type="number"
        min={1}
        required
        defaultValue={refill?.amount}
      />
      {mode === 'add' && (
        <Field
          label={words.refillMax}
          hint={words.refillMaxHint}
          name="max"
          path="/credits/refill/max"
          type="number"
          min={1}
          defaultValue={refill?.max}
        />
      )}
      {interval === 'weekly' && (
        <Select label={words.refillDay} name="day" defaultValue={String(day)} options={DAYS} />
      )}
      {interval === 'monthly' && (
        <Field
          label={words.refillDay}
          hint={words.refillDayHint}
          name="day"
          path="/credits/refill/day"
          type="number"
          min={1}
          max={31}
          defaultValue={day}
        />
      )}
      <Select
        label={words.refillHour}
        name="hour"
        defaultValue={String(refill?.hour ?? DEFAULTS.hour)}
        options={HOURS}
      />
      <Field
        label={words.timeZone}
        hint={words.timeZoneHint}
        name="time_zone"
        path="/credits/refill/time_zone"
        autoComplete="off"
        spellCheck={false}
        defaultValue={refill?.time_zone ?? DEFAULTS.time_zone}
      />
    </div>
  )
}

/** What the fields say, null where one is empty. The API decides whether it is right. */
export function limitsIn(fields: FormData) {
  const limit = numberIn(fields, 'limit')
  const remaining = numberIn(fields, 'credits')
  const interval = textIn(fields, 'refill') as Interval | undefined
  return {
    rate_limit: limit === undefined ? null : { limit, window_seconds: numberIn(fields, 'window') ?? 0 },
    credits:
      remaining === undefined
        ? null
        : { remaining, refill: interval ? withoutDefaults(refillIn(fields, interval)) : null },
  } satisfies Limited
}

/** Only what differs of the limits: what is used up meanwhile is not given back by another change. */
export function limitChanges(before: Limited, fields: FormData): LimitPatch {
  const after = limitsIn(fields)
  const had = before.credits && { ...before.credits, refill: refillOf(before.credits) }
  const changes = changesOf({ ...before, credits: had }, after)
  if (!changes.credits || !had) return changes
  return { ...changes, credits: changesOf(had, changes.credits) }
}

const refillOf = ({ refill }: Credits) => (refill ? withoutDefaults(refill) : null)

function refillIn(fields: FormData, interval: Interval): Refill {
  return {
    amount: numberIn(fields, 'amount') ?? 0,
    interval,
    day: numberIn(fields, 'day'),
    hour: numberIn(fields, 'hour'),
    time_zone: textIn(fields, 'time_zone'),
    mode: textIn(fields, 'mode') as Refill['mode'],
    max: numberIn(fields, 'max'),
  } as Refill
}

function withoutDefaults(refill: Refill): Refill {
  const isSaid = ([name, value]: [string, unknown]) =>
    value !== undefined && value !== (DEFAULTS as Record<string, unknown>)[name]
  return Object.fromEntries(Object.entries(refill).filter(isSaid)) as Refill
}

const numberIn = (fields: FormData, name: string) => {
  const text = textIn(fields, name)
  return text === undefined ? undefined : Number(text)
}
