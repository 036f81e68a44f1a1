import type { RuleName } from '../../types/detector.d.ts';

/** A sentence that a customer may be shown, in each language. It names no score and no device. */
export interface Sentences {
  readonly en: string;
  readonly 'zh-CN': string;
}

const byRule: Readonly<Record<RuleName, Sentences>> = {
  shared_key: { en: 'This key was used from several devices or places at the same time, as if several people shared it.', 'zh-CN': '此密钥同时在多台设备或多个地点使用，像是由多人共用。' },
  stolen_key: { en: 'This key was used in a way that its past does not know: another network, another program, another model.', 'zh-CN': '此密钥的使用方式与以往不同：新的网络、新的程序、新的模型。' },
  spend_velocity: { en: 'This key spent far more in a short time than ever before.', 'zh-CN': '此密钥在短时间内的花费远超以往。' },
  request_rate: { en: 'This key sent far more requests in a short time than ever before.', 'zh-CN': '此密钥在短时间内发送的请求远多于以往。' },
  credential_stuffing: { en: 'Many keys that are not valid were tried from this network.', 'zh-CN': '有人从此网络尝试了许多无效的密钥。' },
  key_spraying: { en: 'Many keys were tried from this network, one after the other.', 'zh-CN': '有人从此网络逐个尝试了许多密钥。' },
  failure_burst: { en: 'Nearly all requests of this key fail, and they go on.', 'zh-CN': '此密钥的请求几乎全部失败，却仍在继续。' },
  content_repetition: { en: 'The same request was sent again and again.', 'zh-CN': '同一请求被反复发送。' },
  scanning: { en: 'Many paths that do not exist were asked for from this network.', 'zh-CN': '有人从此网络请求了许多不存在的路径。' },
  leaked_key: { en: 'This key was found in public or with strangers. It stays blocked until it is replaced.', 'zh-CN': '此密钥已泄露，在更换之前将保持停用。' },
  honey_key: { en: 'A key that was left as a trap was used.', 'zh-CN': '有人使用了作为诱饵的密钥。' },
  impossible_travel: { en: 'This key was used from several countries in turn within a short time.', 'zh-CN': '此密钥在短时间内轮流从多个国家使用。' },
  client_forgery: { en: 'This key was used by a program that gives itself the name of another one.', 'zh-CN': '使用此密钥的程序冒用了其他程序的名称。' },
};

/** Every rule of the watch. */
export const ruleNames = Object.keys(byRule) as readonly RuleName[];

/** The sentence of a finding. */
export function sentencesOf(rule: RuleName, part: string): Sentences {
  if (part.startsWith('homes_')) return { en: 'This key was used under several account names in turn.', 'zh-CN': '此密钥轮流在多个账户名下使用。' };
  if (part === 'habits_apart') return { en: 'This key was used in turn from several places, as if several people shared it.', 'zh-CN': '此密钥轮流在多个地点使用，像是由多人共用。' };
  return byRule[rule];
}
