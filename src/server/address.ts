/** `http://host:port`, an IPv6 address in brackets. */
export function describeAddress(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
