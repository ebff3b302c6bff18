import type { PatroniCluster } from '../support/patroni.ts'
import type { Bed } from './bed.ts'
import type { Load } from './load.ts'

/** A way to lose the primary of a cluster while clients use the service. */
export type Trial = (cluster: PatroniCluster, load: Load, bed: Bed) => Promise<void>

export const switchOver: Trial = async (cluster, { during, checker }) => {
  const old = await cluster.takingWrites()
  await during({}, async () => {
    const began = performance.now()
    await Promise.all([cluster.switchOver(old), cluster.takingWrites(old)])
    checker.note(`another node took writes after ${Math.round(performance.now() - began)} ms`)
  })
}

export const killPostgres: Trial = async (cluster, { during, checker }) => {
  const old = await cluster.takingWrites()
  await during({}, async () => {
    const began = performance.now()
    old.killPostgres()
    const { name } = await cluster.takingWrites()
    const ms = Math.round(performance.now() - began)
    checker.note(`${name === old.name ? 'the same node' : 'another node'} took writes after ${ms} ms`)
  })
}

export const killNode: Trial = async (cluster, { during, checker }) => {
  const old = await cluster.takingWrites()
  await during({}, async () => {
    const began = performance.now()
    await old.killPatroni()
    old.killPostgres()
    await cluster.takingWrites(old)
    checker.note(`another node took writes after ${Math.round(performance.now() - began)} ms`)
  })
  old.startPatroni()
}

export const freezeNode: Trial = async (cluster, { during, calm, checker }) => {
  const old = await cluster.takingWrites()
  await during({}, async () => {
    const began = performance.now()
    old.freeze()
    await cluster.takingWrites(old)
    checker.note(`another node took writes after ${Math.round(performance.now() - began)} ms`)
  })
  // It wakes as a primary, until its Patroni has asked etcd.
  old.thaw()
  await calm(3000)
}

export const cutFromEtcd: Trial = async (cluster, { during, calm, checker }) => {
  const old = await cluster.takingWrites()
  await during({}, async () => {
    const began = performance.now()
    old.etcd.freeze()
    await cluster.takingWrites(old)
    checker.note(`another node took writes after ${Math.round(performance.now() - began)} ms`)
  })
  await calm(3000)
  old.etcd.thaw()
}
