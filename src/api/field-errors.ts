import type { FieldError } from '../lib/errors.ts'
import { READABLE } from '../lib/model.ts'
import { type Fault, faultsOf, isAboutQuery, type Schema } from './elysia.ts'

/** Members that a 422 names, and faults that are read for it: a body of 64 KiB has room for thousands of faults. */
const MAX_FIELD_ERRORS = 20

/**
 * The members at fault, each with a sentence that says what is allowed. The submitted values, which may be secret, are
 * never quoted.
 * @param error Elysia's ValidationError
 */
export function fieldErrorsOf(error: object): FieldError[] {
  const isQuery = isAboutQuery(error)
  const fields = new Map<string, FieldError>()
  for (const { path: pointer, message, schema } of faultsOf(error)
    .slice(0, MAX_FIELD_ERRORS)
    .flatMap(inNearestChoice)) {
    const path = isQuery ? pointer.replace('/', '?') : pointer
    if (!fields.has(path)) fields.set(path, { path, message: sentenceOf(message, schema) })
  }
  return [...fields.values()].slice(0, MAX_FIELD_ERRORS)
}

/**
 * Finds the member at fault inside a union. TypeBox reports "Expected union value" at the place of the union, whatever is
 * wrong in it. A choice whose faults all lie deeper is the one that the client meant, such as the object where null is
 * the other choice. Without such a choice the value has the wrong type, and the union's own fault stays.
 */
function inNearestChoice(fault: Fault): Fault[] {
  const choices = fault.errors.map((faults) =>
    [...Iterator.from(faults).take(MAX_FIELD_ERRORS)].flatMap(inNearestChoice),
  )
  const [nearest] = choices
    .filter((faults) => faults.length > 0 && faults.every(({ path }) => path.length > fault.path.length))
    .sort((one, other) => one.length - other.length)
  return nearest ?? [fault]
}

function sentenceOf(message: string, schema: Schema): string {
  if (message === 'Unexpected property') return 'Unknown member'
  if (message === 'Expected required property') return `Is required: ${describe(schema)}`
  return typeof schema.error === 'string' ? schema.error : `Must be ${describe(schema)}`
}

/** What a schema allows, in words. */
function describe(schema: Schema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  switch (schema.type) {
    case 'string':
      return describeText(schema)
    case 'integer':
      return `an integer${range(schema.minimum, schema.maximum, ' from', ' of')}`
    case 'number':
      return `a number${range(schema.minimum, schema.maximum, ' from', ' of')}`
    case 'boolean':
      return 'true or false'
    case 'array':
      return `a list${range(undefined, schema.maxItems, '', ' of')}`
    case 'object':
      return 'an object'
    case 'null':
      return 'null'
    default:
      return schema.anyOf ? describeChoices(schema.anyOf) : 'another value'
  }
}

function describeText(schema: Schema): string {
  if (schema.format === 'uuid') return 'a UUID'
  if (schema.format === 'date-time') return 'a time in RFC 3339'
  const length = range(schema.minLength, schema.maxLength, ' of', ' of')
  const kind = schema.pattern === READABLE ? ', on one line' : ''
  const limits = schema.pattern === undefined ? '' : `${kind}, without control characters`
  return `text${length}${length === '' ? '' : ' characters'}${limits}`
}

function range(least: number | undefined, most: number | undefined, between: string, one: string): string {
  if (least !== undefined && most !== undefined) return `${between} ${least} to ${most}`
  if (most !== undefined) return `${one} at most ${most}`
  return least === undefined ? '' : `${one} at least ${least}`
}

/** The choices of a union in words. A number in a query is also a text to Elysia, which is not a choice for the caller. */
function describeChoices(choices: Schema[]): string {
  const words = choices
    .flatMap((choice) => choice.anyOf ?? choice)
    .filter(({ format }) => format !== 'integer')
    .map(describe)
  const last = words.pop() ?? ''
  return words.length === 0 ? last : `${words.join(', ')} or ${last}`
}
