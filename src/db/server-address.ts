/** What a URL as our settings give it names, in the form that postgres.js takes beside the URL. */
export type ServerAddress = { host: string; port: number; database: string }

/**
 * Hosts, ports and the database of a URL. By itself postgres.js takes an IPv6 address apart at its colons and does not
 * decode the database's name. It reads arrays of hosts and ports, which its types leave out.
 */
export function addressOf(url: string): ServerAddress {
  const [, hosts = '', database = ''] = /^[a-z]+:\/\/(?:[^/?]*@)?([^/?@]*)(?:\/([^?]*))?/i.exec(url) ?? []
  const parts = hosts.split(',').map((host) => /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(host) ?? [])
  const address = {
    host: parts.map(([, ipv6, name]) => ipv6 ?? decodeURIComponent(name ?? '')),
    port: parts.map(([, , , port]) => Number(port ?? 5432)),
    // Empty: the driver takes the user's name, as libpq does.
    database: decodeURIComponent(database),
  }
  return address as unknown as ServerAddress
}
