/**
 * How the people and attackers of the simulation behave. Written before the detectors were tuned. Sources: [RBA] Wiefling et al., "Pump
 * up password security", data set of 31 million logins, 2022: people use few devices and several networks. [BurstGPT] Wang et al., 2024:
 * bursts with pauses, token counts with long tails. [WildChat] Zhao et al., 2024: some 2.5 turns a conversation. [IMC16] Padmanabhan
 * et al., "Reasons dynamic addresses change", 2016: access providers that renumber every 24 hours. [AGENTS] requests of five coding agents
 * that we recorded: sizes, identifiers, requests a turn. Where no source is named, the number is an assumption on the busy side.
 */
export const parameters = {
  /** Seconds of warming up before the first day counts. A ramped theft begins earlier. */
  warmUpDays: 7,

  /** Shares of the keys. */
  population: { developer: 0.34, chat: 0.2, office: 0.17, cgnat: 0.13, commuter: 0.06, renumbered: 0.05, three_devices: 0.04, service: 0.01 },
  /** People behind the address of one office, and strangers behind one carrier [issue's own sizes]. */
  officeSize: 200,
  cgnatSize: 5000,

  /** What developers use [AGENTS], and people who chat. */
  agents: { 'claude-code': 0.5, codex: 0.2, opencode: 0.12, qwen: 0.08, gemini: 0.1 },
  chats: { cherry: 0.5, nextchat: 0.3, 'openai-python': 0.2 },
  platforms: { 'linux x64': 0.3, 'mac arm64': 0.45, 'windows x64': 0.25 },

  /** Days at work: share of working days and of weekends on which somebody uses the key. */
  activeWorkday: 0.85,
  activeWeekend: 0.25,
  /** Sittings a day: median of a log-normal over people, and its sigma. */
  sittings: { median: 2.5, sigma: 0.6 },
  /** Seconds between two sittings at least. */
  pause: 300,
  /** Turns of a sitting: people of agents, and chat [WildChat: 2.5]. Geometric means. */
  turns: { agent: 6, chat: 2.5 },
  /** Requests of an agent's turn [AGENTS], a chat has one. */
  requestsATurn: 4,
  /** Seconds between requests of a turn and between turns: medians of log-normals [BurstGPT: bursts with pauses]. */
  gap: { request: { median: 9, sigma: 0.7 }, turn: { median: 110, sigma: 1 } },
  /** Tokens of a request: medians and sigma [AGENTS: 30 to 80 KB at the least; BurstGPT: long tails]. */
  tokens: { agent: { median: 30_000, sigma: 0.8 }, chat: { median: 900, sigma: 1.1 } },
  /** US dollars for a million tokens, most of an agent's being cached. */
  price: { agent: 0.7, chat: 2 },

  /** Chances a day. */
  newModel: 1 / 40,
  newNetwork: 1 / 15,
  newClient: 1 / 60,
  newMachine: 1 / 400,
  mistypedKey: 1 / 50,
  brokenScript: 1 / 500,
  tunnelAbroad: 1 / 200,
  nightJob: 1 / 80,
  /** Share of failures, of repetitions of a body. */
  failures: 0.02,
  repeats: 0.01,
  /** Homes with IPv6 beside IPv4; of their requests some go by IPv4. */
  dualStack: 0.4,
  overIpv4: 0.1,

  /** Network changes of a commuter in a day, among so many networks. */
  commuter: { changes: 40, networks: 9 },
  /** Renumbered homes get another /24 every night, within the same /16 at this share [IMC16]. */
  renumbered: { sameWide: 0.3, wides: 12 },
  /** Runs of a job a day in fresh containers, requests of each; networks of hosting providers they run in. */
  jobs: { runs: 4, requests: 12, networks: 40, wides: 6 },
  /** Three-device people: chance a day that both machines are used at once, and for how many turns of the second. Two account names. */
  bothAtOnce: { chance: 1 / 60, turns: 1 },
  twoNames: 0.3,
  /** A carrier's addresses change with every sitting within so many /24 of two /16. */
  cgnatNetworks: 16,
  /** One launch day and one holiday a run. */
  launch: { keys: 0.1, factor: 3, serviceFactor: 8 },
  holidayFactor: 0.1,

  attacks: {
    /** Shared and resold keys whose owners use coding agents: the reports are about their plans. */
    agentKeys: 0.92,
    /** Share of the people who share a key that live in another time zone. */
    otherZone: 0.3,
    resold: { customers: 40, keys: 1, rewritten: 0.5 },
    smashed: { minutes: 90, aMinute: 60, tokens: 30_000 },
    ramped: { first: 8, growth: 1.25, days: 21, before: 14 },
    probe: { quietDays: 3, burst: 12_800_000, minutes: 60 },
    stuffing: { tokens: [60, 1500], aMinute: [10, 100] },
    spraying: { keys: [15, 60], aMinute: [3, 20] },
    /** Thieves who use the client family of the owner. */
    sameClient: 0.3,
    fromHosting: 0.6,
  },
} as const;
