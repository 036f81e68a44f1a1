// The command lines that print what the page shows: of `heimdall`, and of curl for what the running gate alone knows.

/** A value as a word of a POSIX shell. */
export const word = (value: string): string => (/^[\w@%+=:,./*-]+$/.test(value) && !value.startsWith('-') && !value.includes('*') ? value : `'${value.replaceAll("'", `'\\''`)}'`);

const options = (values: Readonly<Record<string, string | number | null | undefined>>): string =>
  Object.entries(values).map(([name, value]) => (value === null || value === undefined || value === '' ? '' : value === 'true' ? ` --${name.replaceAll('_', '-')}` : ` --${name.replaceAll('_', '-')} ${word(String(value))}`)).join('');

/** A command with its words and options. Options without a value are left out; `true` stands for a switch. */
export const command = (name: string, words: readonly string[] = [], values: Readonly<Record<string, string | number | null | undefined>> = {}): string =>
  `heimdall ${name}${words.map((each) => ` ${word(each)}`).join('')}${options(values)}`;

/** The records of a search. */
export const logs = (values: Readonly<Record<string, string | number | null | undefined>> = {}): string => command('logs', [], values);

/** How many records a search finds, with their tokens and cost: one line for each source, which is the gate but for records that were handed in. */
export const counted = (values: Readonly<Record<string, string | number | null | undefined>> = {}): string => logs({ ...values, by: 'source' });

/** A question to the admin API. @param url of the resource. @param user of NewAPI, where its login is the gate's. */
export const curl = (url: string, user: number | null): string =>
  user === null ? `curl -H "Authorization: Bearer $HEIMDALL_ADMIN_TOKEN" ${word(url)}` : `curl -H "Authorization: Bearer $NEWAPI_ACCESS_TOKEN" -H 'New-Api-User: ${user}' ${word(url)}`;
