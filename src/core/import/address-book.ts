import type { Fault } from './shape.ts'

/** Who of one import has which address. */
export type AddressBook = {
  /** Enters somebody; a fault where somebody else has the address, which says in what way the two differ. */
  enter<U extends { id: string; email: string }>(user: U, written: string): U | Fault
}

/** An empty one. Two addresses that differ only in case are one address here, and never two people merged into one. */
export function createAddressBook(): AddressBook {
  const holders = new Map<string, { id: string; written: string }>()
  return {
    enter(user, written) {
      const holder = holders.get(user.email)
      if (!holder) {
        holders.set(user.email, { id: user.id, written })
        return user
      }
      if (holder.id === user.id && holder.written === written) return user
      if (holder.written.trim() === written.trim()) {
        return { fault: 'Another user of this import has the same address' }
      }
      return {
        fault: `The address differs only in case from that of another user of this import, ${holder.written}: which of the two is meant has to be decided first`,
      }
    },
  }
}
