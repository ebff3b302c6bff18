/** The part of JSON Schema that Latchkey's OpenAPI 3.1 document uses. */
export type Schema = {
  $ref?: string
  type?: string | string[]
  anyOf?: Schema[]
  const?: unknown
  enum?: unknown[]
  properties?: Record<string, Schema>
  patternProperties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
  items?: Schema
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  maxItems?: number
  pattern?: string
  format?: string
  description?: string
  examples?: unknown[]
}

const FORMATS: Record<string, RegExp> = {
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
}

const KNOWN = new Set(
  '$ref type anyOf const enum properties patternProperties required additionalProperties items minimum maximum minLength maxLength maxItems minItems pattern format description examples default title'.split(
    ' ',
  ),
)

/**
 * Lists what is wrong with a value; the list is empty if the value is valid. Stricter than the standard: a
 * member that the schema does not name is a fault, unless the schema allows further members.
 * @param resolve returns the schema that a `$ref` names
 */
export function faultsOf(
  value: unknown,
  schema: Schema,
  resolve: (ref: string) => Schema,
  at = '$',
): string[] {
  const unknown = Object.keys(schema).filter((keyword) => !KNOWN.has(keyword))
  if (unknown.length > 0) return [`${at}: this check does not know ${unknown.join(', ')}`]
  if (schema.$ref) return faultsOf(value, resolve(schema.$ref), resolve, at)
  if (schema.anyOf) {
    const each = schema.anyOf.map((choice) => faultsOf(value, choice, resolve, at))
    if (!each.some((faults) => faults.length === 0)) return [`${at}: fits none of: ${each.flat().join('; ')}`]
  }
  const types = schema.type === undefined ? [] : [schema.type].flat()
  if (types.length > 0 && !types.some((type) => isOfType(value, type)))
    return [`${at}: is ${JSON.stringify(value)}, not ${types.join(' or ')}`]
  const faults: string[] = []
  const must = (holds: boolean, what: string) => {
    if (!holds) faults.push(`${at}: ${what}, not ${JSON.stringify(value)}`)
  }
  if ('const' in schema) must(value === schema.const, `must be ${JSON.stringify(schema.const)}`)
  if (schema.enum) must(schema.enum.includes(value), `must be one of ${JSON.stringify(schema.enum)}`)
  if (typeof value === 'string') {
    must(value.length >= (schema.minLength ?? 0), `must have ${schema.minLength} characters`)
    must(value.length <= (schema.maxLength ?? Infinity), `must have ${schema.maxLength} characters at most`)
    if (schema.pattern) must(new RegExp(schema.pattern).test(value), `must match ${schema.pattern}`)
    if (schema.format) must(FORMATS[schema.format]?.test(value) ?? false, `must be a ${schema.format}`)
  }
  if (typeof value === 'number') {
    must(value >= (schema.minimum ?? -Infinity), `must be ${schema.minimum} at least`)
    must(value <= (schema.maximum ?? Infinity), `must be ${schema.maximum} at most`)
  }
  if (Array.isArray(value)) {
    const { items } = schema
    must(value.length <= (schema.maxItems ?? Infinity), `must have ${schema.maxItems} entries at most`)
    if (items) faults.push(...value.flatMap((entry, i) => faultsOf(entry, items, resolve, `${at}[${i}]`)))
  } else if (isObject(value)) faults.push(...faultsOfMembers(value, schema, resolve, at))
  return faults
}

function faultsOfMembers(
  value: Record<string, unknown>,
  schema: Schema,
  resolve: (ref: string) => Schema,
  at: string,
): string[] {
  const { properties, patternProperties = {}, additionalProperties } = schema
  const missing = (schema.required ?? []).filter((name) => !(name in value))
  const faults = missing.map((name) => `${at}.${name}: is missing`)
  for (const [name, member] of Object.entries(value)) {
    const byPattern = Object.entries(patternProperties).find(([pattern]) => new RegExp(pattern).test(name))
    const others = typeof additionalProperties === 'object' ? additionalProperties : undefined
    const its = properties?.[name] ?? byPattern?.[1] ?? others
    if (its) faults.push(...faultsOf(member, its, resolve, `${at}.${name}`))
    else if (additionalProperties !== true && properties) faults.push(`${at}.${name}: is not described`)
  }
  return faults
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return isObject(value)
  if (type === 'integer') return Number.isInteger(value)
  return typeof value === type
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
