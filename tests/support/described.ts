import { type Answer, type Call, call as callUnchecked } from './client.ts'
import { faultsOf, type Schema } from './json-schema.ts'
import type { TestService } from './service.ts'

type Media = { schema?: Schema }
type Parameter = { name: string; in: string; required?: boolean; schema: Schema }
export type Operation = {
  operationId: string
  tags: string[]
  summary?: string
  parameters?: Parameter[]
  requestBody?: { required?: boolean; content: Record<string, Media> }
  responses: Record<string, { description: string; content?: Record<string, Media> }>
  security: Record<string, string[]>[]
}
export type OpenApiDocument = {
  openapi: string
  servers: { url: string }[]
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema>; securitySchemes: Record<string, { type: string }> }
}

const documents = new WeakMap<object, Promise<OpenApiDocument>>()

/** The OpenAPI document of a service. */
export function documentOf(service: Pick<TestService, 'url'>): Promise<OpenApiDocument> {
  let document = documents.get(service)
  if (!document) {
    document = callUnchecked(service, 'GET /openapi.json').then(({ body }) => body as OpenApiDocument)
    documents.set(service, document)
  }
  return document
}

/** The operations of a document: the method in capitals, the path, and the operation. */
export function operationsOf(document: OpenApiDocument) {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  )
}

/** Like `call`, and checks the answer against the document: its status, its type, and every member. */
export async function call(service: TestService, route: string, options: Call = {}): Promise<Answer> {
  const answer = await callUnchecked(service, route, options)
  const document = await documentOf(service)
  const faults = faultsOfAnswer(document, route, answer)
  if (faults.length > 0) throw new Error(`${route} answered what is not described:\n${faults.join('\n')}`)
  return answer
}

/** Finds the schema that a reference within the document names. */
export const resolveIn = (document: OpenApiDocument) => (ref: string) => {
  const schema = document.components.schemas[ref.replace('#/components/schemas/', '')]
  if (!schema) throw new Error(`The document does not hold ${ref}`)
  return schema
}

function faultsOfAnswer(document: OpenApiDocument, route: string, answer: Answer): string[] {
  const [method = '', target = ''] = route.split(' ')
  const found = findOperation(document, method === 'HEAD' ? 'GET' : method, target.split('?')[0] ?? '')
  const type = answer.headers.get('content-type')?.split(';')[0]
  if (answer.status === 500 || !found) {
    const isOwnFile = target.startsWith('/docs') || target.startsWith('/openapi.json')
    return isOwnFile || isProblem(document, answer, type)
      ? []
      : [`${answer.status} is no problem: ${answer.text}`]
  }
  const described = found.responses[String(answer.status)]
  if (!described) return [`status ${answer.status}: ${answer.text}`]
  if (answer.text === '') return described.content && method !== 'HEAD' ? ['no body'] : []
  const schema = described.content?.[type ?? '']?.schema
  if (!schema) return [`type ${type} for ${answer.status}: ${answer.text}`]
  return faultsOf(answer.body, schema, resolveIn(document))
}

function isProblem(document: OpenApiDocument, answer: Answer, type: string | undefined): boolean {
  if (answer.text === '') return true
  if (type === 'application/json') return 'error' in answer.body
  return faultsOf(answer.body, { $ref: '#/components/schemas/Problem' }, resolveIn(document)).length === 0
}

function findOperation(document: OpenApiDocument, method: string, path: string): Operation | undefined {
  const plain = path.length > 1 ? path.replace(/\/$/, '') : path
  const exact = document.paths[plain]
  if (exact) return exact[method.toLowerCase()]
  const matches = Object.entries(document.paths).filter(
    ([template, methods]) =>
      method.toLowerCase() in methods &&
      new RegExp(`^${template.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '[^/]+')}$`).test(plain),
  )
  // `/keys/revoke/{id}` comes before `/keys/{id}/rotate`, as in the router.
  return matches.sort(([a], [b]) => a.indexOf('{') - b.indexOf('{')).at(-1)?.[1][method.toLowerCase()]
}
