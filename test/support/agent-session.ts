import { generator } from './random.ts';

/** The forms in which agents send a conversation. */
export type Dialect = 'messages' | 'chat' | 'responses' | 'gemini';

/** A request of an agent. */
export interface AgentRequest {
  readonly path: string;
  readonly body: Record<string, unknown>;
  /** What the person said last. */
  readonly question: string;
}

const words = `the a file function returns value when error path test build module import type string number list map set read write open close line code change fix add remove
user name config server client request response header body token model stream chunk parse format value key option default limit time second minute count total first last next
should must may can will not only all each every before after between without with from into over under this that these those it is are was were be been has have had do does did
run command shell output input argument flag directory project workspace branch commit merge conflict message review patch diff search replace match pattern index table column row`.split(/\s+/);

/** Makes texts of ordinary words; the same for the same seed. */
export function writer(seed: number): (length: number) => string {
  const random = generator(seed);
  return (length) => {
    let text = '';
    while (text.length < length) text += `${words[random(words.length)]}${random(12) === 0 ? '.\n' : ' '}`;
    return text.trimEnd();
  };
}

/** What does not change in the requests of one agent. */
function constantsOf(say: (length: number) => string): { system: readonly string[]; tools: readonly { name: string; description: string; schema: object }[] } {
  const tools = Array.from({ length: 24 }, (_, at) => ({
    name: `Tool${at}`,
    description: say(1100),
    schema: { type: 'object', properties: Object.fromEntries(['file_path', 'pattern', 'limit'].map((name) => [name, { type: 'string', description: say(120) }])), required: ['file_path'], additionalProperties: false },
  }));
  return { system: ['x-anthropic-billing-header: cc_version=2.1.197;', say(3000), say(14_000)], tools };
}

/**
 * The requests of a session: each has all turns before it, and the same 60 KB of system prompt and tools.
 * @param turns number of requests.
 */
export function agentSession(dialect: Dialect, seed: number, turns: number): AgentRequest[] {
  const say = writer(seed);
  const constants = constantsOf(say);
  const said: { user: string; assistant: string }[] = [];
  return Array.from({ length: turns }, (_, at) => {
    const question = `Question ${at}: ${say(120)} (${seed} ${at})?`;
    const request = { path: paths[dialect], body: bodies[dialect](said, question, constants), question };
    said.push({ user: question, assistant: say(300) });
    return request;
  });
}

const paths: Readonly<Record<Dialect, string>> = { messages: '/v1/messages?beta=true', chat: '/v1/chat/completions', responses: '/v1/responses', gemini: '/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse' };

type Body = (said: readonly { user: string; assistant: string }[], question: string, constants: ReturnType<typeof constantsOf>) => Record<string, unknown>;

const bodies: Readonly<Record<Dialect, Body>> = {
  messages: (said, question, { system, tools }) => ({
    model: 'claude-sonnet-4-5',
    messages: [...said.flatMap(({ user, assistant }) => [{ role: 'user', content: user }, { role: 'assistant', content: [{ type: 'text', text: assistant }] }]), { role: 'user', content: [{ type: 'text', text: question }] }],
    system: system.map((text) => ({ type: 'text', text })),
    tools: tools.map(({ name, description, schema }) => ({ name, description, input_schema: schema })),
    metadata: { user_id: JSON.stringify({ device_id: 'd'.repeat(64), account_uuid: '', session_id: '3f2a9c1d-0000-4000-8000-000000000001' }) },
    max_tokens: 32_000,
    stream: true,
  }),
  chat: (said, question, { system, tools }) => ({
    model: 'gpt-4o',
    messages: [{ role: 'system', content: system.join('\n') }, ...said.flatMap(({ user, assistant }) => [{ role: 'user', content: user }, { role: 'assistant', content: assistant }]), { role: 'user', content: question }],
    stream: true,
    stream_options: { include_usage: true },
    tools: tools.map(({ name, description, schema }) => ({ type: 'function', function: { name, description, parameters: schema } })),
  }),
  responses: (said, question, { system, tools }) => ({
    model: 'gpt-5-codex',
    instructions: system.join('\n'),
    input: [...said.flatMap(({ user, assistant }) => [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: user }] }, { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: assistant }] }]), { type: 'message', role: 'user', content: [{ type: 'input_text', text: question }] }],
    tools: tools.map(({ name, description, schema }) => ({ type: 'function', name, description, parameters: schema })),
    store: false,
    stream: true,
    prompt_cache_key: 'conversation-0001',
    client_metadata: { 'x-codex-installation-id': 'b0c1d2e3-0000-4000-8000-000000000001' },
  }),
  gemini: (said, question, { system, tools }) => ({
    contents: [...said.flatMap(({ user, assistant }) => [{ role: 'user', parts: [{ text: user }] }, { role: 'model', parts: [{ text: assistant }] }]), { role: 'user', parts: [{ text: question }] }],
    systemInstruction: { role: 'user', parts: [{ text: system.join('\n') }] },
    tools: [{ functionDeclarations: tools.map(({ name, description, schema }) => ({ name, description, parametersJsonSchema: schema })) }],
    generationConfig: { temperature: 0, topP: 1 },
  }),
};
