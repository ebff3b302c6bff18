import type { DefinitionBase, Elysia, MetadataBase, SingletonBase } from 'elysia'
import type { App as Service } from '../src/api/app.ts'

/** Inferred, so that the declaration spells every route out, and says nothing of the source. */
const routesOf = () => (null as unknown as Service)['~Routes']

/** Latchkey's own API by its routes: what Eden Treaty reads. */
export type App = Elysia<'', SingletonBase, DefinitionBase, MetadataBase, ReturnType<typeof routesOf>>
