import type { DefinitionBase, Elysia, MetadataBase, SingletonBase } from 'elysia'
import type { App as Service } from '../src/api/app.ts'

/** The type is inferred, so that the declaration file spells out every route and refers to no source file. */
const routesOf = () => (null as unknown as Service)['~Routes']

/** The routes of Latchkey's own API, in the form that Eden Treaty reads. */
export type App = Elysia<'', SingletonBase, DefinitionBase, MetadataBase, ReturnType<typeof routesOf>>
