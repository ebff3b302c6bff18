/**
 * A process that opens connections to a port of 127.0.0.1, as many as its second argument says, and sends
 * nothing on them. It prints "open" when all are open, and ends when all have been closed, or after a minute.
 */
const [port = '0', count = '0'] = process.argv.slice(2)
const total = Number(count)
/** Fewer than wait to be accepted: one beyond is open here alone, and would never be closed. */
const AT_ONCE = 100
const LIFE_MS = 60_000

let open = 0
let closed = 0
const all = Promise.withResolvers<void>()
const socket = {
  data() {},
  close() {
    closed++
    if (closed === total) all.resolve()
  },
}
for (let begun = 0; begun < total; begun += AT_ONCE) {
  const batch = Array.from({ length: Math.min(AT_ONCE, total - begun) }, () =>
    Bun.connect({ hostname: '127.0.0.1', port: Number(port), socket }),
  )
  open += (await Promise.all(batch)).length
}
process.stdout.write(`open ${open}\n`)
const isOver = await Promise.race([all.promise.then(() => true), Bun.sleep(LIFE_MS).then(() => false)])
process.stdout.write(`closed ${closed}\n`)
process.exit(isOver ? 0 : 1)

export {}
