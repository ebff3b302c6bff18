import { normaliseEmail } from '../users/email.ts'

/** Who of one import has which address. */
export type AddressBook = {
  /** Enters an address; where somebody else has it, says whose it is and in which way the two differ. */
  clash(id: string, written: string): string | null
}

/** An empty one. Two addresses that differ only in case are one address here, and never two people merged into one. */
export function createAddressBook(): AddressBook {
  const holders = new Map<string, { id: string; written: string }>()
  return {
    clash(id, written) {
      const email = normaliseEmail(written) ?? written
      const holder = holders.get(email)
      if (!holder) {
        holders.set(email, { id, written })
        return null
      }
      if (holder.id === id && holder.written === written) return null
      if (holder.written.trim() === written.trim()) return 'Another user of this import has the same address'
      return `The address differs only in case from that of another user of this import, ${holder.written}: which of the two is meant has to be decided first`
    },
  }
}
