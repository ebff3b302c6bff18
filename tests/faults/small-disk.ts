import { mkdtempSync, rmdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What the machine lacks to mount a small disk, or null. */
export function lacksForSmallDisk(): string | null {
  if (process.getuid?.() !== 0 || process.platform !== 'linux') return 'root on Linux, to mount a small disk'
  try {
    smallDisk(1)[Symbol.dispose]()
    return null
  } catch (error) {
    return `the right to mount a small disk (${error})`
  }
}

/** A separate disk in memory: `using disk = smallDisk(150)`. */
export function smallDisk(megabytes: number) {
  const path = mkdtempSync(join(tmpdir(), 'latchkey-disk-'))
  const mounted = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', path])
  if (mounted.exitCode !== 0) {
    rmdirSync(path)
    throw new Error(String(mounted.stderr).trim())
  }
  const unmount = () => Bun.spawnSync(['umount', '--lazy', path])
  process.once('exit', unmount)
  const filler = join(path, 'filler')
  return {
    path,
    /** Fills the disk except for this many megabytes. */
    fill(leftMegabytes: number) {
      // `dd` ends with an error, as intended, because the disk is full.
      Bun.spawnSync(['dd', 'if=/dev/zero', `of=${filler}`, 'bs=4k'])
      truncateSync(filler, statSync(filler).size - leftMegabytes * 2 ** 20)
    },
    empty: () => rmSync(filler),
    [Symbol.dispose]() {
      process.off('exit', unmount)
      unmount()
      rmdirSync(path)
    },
  }
}
