import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { join } from 'node:path';

/** A limit of cgroup v1 that is as large means that there is none, bytes. */
const unlimited = 2 ** 60;

/** Where the two versions of cgroups keep what is asked here. */
const versions = [
  { controller: /^0::(.*)$/m, mount: 'sys/fs/cgroup', limit: 'memory.max', used: 'memory.current', inactive: /^inactive_file (\d+)$/m },
  { controller: /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(.*)$/m, mount: 'sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', used: 'memory.usage_in_bytes', inactive: /^total_inactive_file (\d+)$/m },
] as const;

/**
 * The share of memory in use: of the tightest limit that a container or service has, its working set as Kubernetes counts it, files
 * that were not read lately left out; without a limit, of the machine.
 * @param root of the file system.
 */
export function memoryInUse(root = '/'): number {
  const shares = versions.flatMap((version) => sharesOf(root, version));
  return Math.min(1, shares.length > 0 ? Math.max(...shares) : ofMachine(root));
}

/** One share for each limit on the way from the group of this process up. A container sees its own group as the top. */
function sharesOf(root: string, { controller, mount, limit, used, inactive }: (typeof versions)[number]): number[] {
  const path = controller.exec(textOf(root, 'proc/self/cgroup'))?.[1];
  if (path === undefined) return [];
  const names = path.split('/').filter((name) => name !== '' && name !== '..');
  const shares: number[] = [];
  for (let depth = names.length; depth >= 0; depth--) {
    const group = join(mount, ...names.slice(0, depth));
    const most = numberOf(textOf(root, join(group, limit)));
    const now = numberOf(textOf(root, join(group, used)));
    if (most === null || now === null || most <= 0 || most >= unlimited) continue;
    shares.push(Math.max(0, now - Number(inactive.exec(textOf(root, join(group, 'memory.stat')))?.[1] ?? 0)) / most);
  }
  return shares;
}

function ofMachine(root: string): number {
  const text = textOf(root, 'proc/meminfo');
  const kilobytes = (name: string): number | null => numberOf(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? '');
  const [total, available] = [kilobytes('MemTotal'), kilobytes('MemAvailable')];
  return total === null || available === null ? 1 - freemem() / totalmem() : 1 - available / Math.max(1, total);
}

const numberOf = (text: string): number | null => (/^\d+$/.test(text.trim()) ? Number(text) : null);

function textOf(root: string, path: string): string {
  try {
    return readFileSync(join(root, path), 'utf8');
  } catch {
    return '';
  }
}
