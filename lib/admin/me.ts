import type { Subject } from '../../types/detector.d.ts';
import type { RecordReader } from '../../types/reader.d.ts';
import { sentencesOf } from '../anomaly/anomaly.ts';
import { HeimdallError } from '../errors.ts';
import { languageOf, type Language } from '../http/http.ts';
import { spendSince } from '../journal/journal.ts';
import { BearerGuard } from '../keys/keys.ts';
import type { Context } from '../request/request.ts';
import type { AdminServices, Reply } from './call.ts';
import { iso } from './fields.ts';
import { foundOf, readable } from './found.ts';

/** Requests that are shown. */
const mostRequests = 100;
/** What to do about a stolen or leaked key, the operator says. */
const askOperator: Readonly<Record<Language, string>> = { en: 'Ask your operator.', 'zh-CN': '请咨询您的运营方。' };

/** What a caller has spent in this day and month (UTC), dollars. @param now Unix milliseconds. */
export async function spendOfCaller(subject: Subject, records: Pick<RecordReader, 'ask'>, now: number): Promise<{ readonly day: number; readonly month: number }> {
  const since = new Date(now);
  const [year, month, day] = [since.getUTCFullYear(), since.getUTCMonth(), since.getUTCDate()];
  const spent = async (from: number): Promise<number> => Number((await records.ask(spendSince(subject, from / 1000)))[0]?.['cost'] ?? 0);
  const [today, thisMonth] = await Promise.all([spent(Date.UTC(year, month, day)), spent(Date.UTC(year, month, 1))]);
  return { day: today, month: thisMonth };
}

/** What a caller is shown of itself. */
export class Me {
  readonly #services: AdminServices;
  readonly #guard: BearerGuard;

  constructor(services: AdminServices) {
    this.#services = services;
    this.#guard = new BearerGuard(services.core, 'me', [], 'auth.failed', 'client');
  }

  /** `GET me` of the API. SECURITY: everything shown is asked for by the identity of the credential alone. @throws HeimdallError for a credential that is not good. */
  async show(context: Context): Promise<Reply> {
    const { callers, records, core } = this.#services;
    const subject = await callers.find(context, () => this.#guard.blocked(context) === null);
    if (subject === null) {
      const refusal = this.#guard.judge(context, null) as HeimdallError;
      if (refusal.status === 401) context.extraHead?.push('WWW-Authenticate', 'Bearer');
      throw refusal;
    }
    const reading = records.sum().then(() => Promise.all([spendOfCaller(subject, records, core.clock.now()), records.requestsOf(subject, mostRequests)]));
    const [{ value, problem }, limits, { found }] = await Promise.all([readable(reading), callers.limits(context), foundOf(this.#services, subject)]);
    const [spend, requests] = value ?? [{ day: null, month: null }, []];
    const language = languageOf(context.headers['accept-language']);
    return {
      status: 200,
      body: {
        caller: { kind: subject.kind, id: subject.id, mask: context.token?.mask ?? null },
        // Without the reason, which is the operator's.
        records: { available: problem === null },
        spend, limits, requests: requests.map(({ timestamp, stream, ...row }) => ({ ...row, timestamp, time: iso(Number(timestamp) * 1000), stream: stream === 1 })),
        findings: found.map(({ finding: { rule, reason, state, action, since: at } }) => ({
          sentence: rule === 'stolen_key' || rule === 'leaked_key' ? askOperator[language] : sentencesOf(rule, reason)[language], state, action, since: iso(at),
        })),
      },
    };
  }
}
