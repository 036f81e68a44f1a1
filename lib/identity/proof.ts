import { createHmac, timingSafeEqual } from 'node:crypto';

/** How far the clocks of the asking process and of the gate may differ, milliseconds. A proof that was read on its way is good for as long. */
const lifetime = 300_000;

const macOf = (secret: string, time: string): Buffer => createHmac('sha256', secret).update(`heimdall doctor ${time}`).digest();

/** Shows that its sender reads the install secret, which stays where it is. @param now Unix milliseconds. */
export const doctorProof = (secret: string, now: number): string => `${now}.${macOf(secret, String(now)).toString('base64url')}`;

/** Whether a text is a proof of the last minutes. @param secret is read for a text of the right form and time alone. */
export function isDoctorProof(text: string, secret: () => string, now: number): boolean {
  const [, time = '', mac = ''] = /^(\d{13})\.([\w-]{43})$/.exec(text) ?? [];
  return time !== '' && Math.abs(now - Number(time)) < lifetime && timingSafeEqual(macOf(secret(), time), Buffer.from(mac, 'base64url'));
}
