import { LRUCache } from 'lru-cache';
import type { Usage } from '../../types/usage.d.ts';
import type { Context } from '../request/request.ts';
import type { NewapiPrices } from './newapi-prices.ts';

/** US dollars a million tokens. */
export interface Price {
  readonly input: number;
  readonly output: number;
  /** For input from a cache; `input` counts where it is absent. */
  readonly cached?: number | null;
}

/** Prices by model; a name that ends in `*` matches every model that begins so. */
export type Prices = Readonly<Record<string, Price>>;

/** The target whose price counts. */
export interface PricedTarget {
  readonly name: string;
  readonly provider: string;
}

/**
 * US dollars for what a model of a target used; null when its price is unknown.
 * @param usage null where it is unknown: then a price by the call alone counts.
 * @param calls what a call counts where the price is by the call; default 1.
 * @param group of the caller in NewAPI, where it is known.
 */
export type CostOf = (model: string, target: PricedTarget, usage: Usage | null, calls?: number, group?: string | null) => number | null;

/** Where prices that the configuration leaves out come from. */
export interface PriceSources {
  /** The known lists of NewAPIs, by the names of their targets. */
  readonly newapi?: ReadonlyMap<string, NewapiPrices>;
  /** Imports `@pydantic/genai-prices`; null does without. */
  readonly load?: (() => Promise<unknown>) | null;
}

/** The part of `@pydantic/genai-prices` that is used. */
export interface PriceBook {
  calcPrice(
    usage: { readonly input_tokens: number; readonly output_tokens: number; readonly cache_read_tokens: number },
    model: string,
    options: { readonly providerId?: string },
  ): { readonly total_price: number; readonly model_price: Readonly<Record<string, unknown>> } | null;
}

/** The package with prices of many providers. */
export const bookName = '@pydantic/genai-prices';
/** Callers choose the names of models, so what is remembered of them is bounded. */
const remembered = { max: 1000, ttl: 60_000 };
const longestModel = 256;

/**
 * Costs by the configured prices, else by NewAPI's own list where NewAPI has answered, else by `@pydantic/genai-prices`. The package
 * is loaded when the first model has answered that has no other price, and its prices count as soon as it is loaded.
 */
export function costs(prices: Prices, { newapi, load = () => import(bookName) }: PriceSources = {}): CostOf {
  let listed: ListedCost | null = null;
  let isLooking = false;
  return (model, { name, provider }, usage, calls, group) => {
    const price = find(model, prices);
    if (price !== null) return usage === null ? null : cost(usage, price);
    const own = newapi?.get(name)?.costOf(model, usage, calls, group) ?? null;
    if (own !== null || usage === null || load === null) return own;
    if (listed !== null) return listed(model, provider, usage);
    if (!isLooking) {
      isLooking = true;
      load().then((book) => {
        if (isPriceBook(book)) listed = pricesOf(book);
      }).catch(() => undefined);
    }
    return null;
  };
}

/** The price of the longest name that fits the model; null when none does. */
function find(model: string, prices: Prices): Price | null {
  if (Object.hasOwn(prices, model)) return prices[model] as Price;
  let longest = '';
  for (const name in prices) {
    if (name.length > longest.length && name.endsWith('*') && model.startsWith(name.slice(0, -1))) longest = name;
  }
  return longest === '' ? null : (prices[longest] as Price);
}

function cost({ prompt, cached, completion }: Usage, price: Price): number {
  return ((prompt - cached) * price.input + cached * (price.cached ?? price.input) + completion * price.output) / 1_000_000;
}

const isPriceBook = (book: unknown): book is PriceBook => typeof (book as Partial<PriceBook> | null)?.calcPrice === 'function';

type ListedCost = (model: string, provider: string, usage: Usage) => number | null;

/** Asking the package takes 13 to 26 µs: its price of a model is remembered for a minute, unless it depends on the size. */
function pricesOf(book: PriceBook): ListedCost {
  const known = new LRUCache<string, { readonly price: Price | null }>(remembered);
  return (model, provider, usage) => {
    if (model.length > longestModel) return null;
    const id = `${provider} ${model}`;
    const found = known.get(id);
    if (found !== undefined) return found.price === null ? null : cost(usage, found.price);
    const listed = ask(book, model, provider, usage);
    const price = listed === null ? null : flat(listed.model_price);
    if (price !== undefined) known.set(id, { price });
    return listed === null ? null : listed.total_price;
  };
}

/** NewAPI relays models of every provider, so only the model can tell the price there. */
function ask(book: PriceBook, model: string, provider: string, usage: Usage): ReturnType<PriceBook['calcPrice']> {
  const tokens = { input_tokens: usage.prompt, output_tokens: usage.completion, cache_read_tokens: usage.cached };
  try {
    return book.calcPrice(tokens, model, provider === 'newapi' ? {} : { providerId: provider });
  } catch {
    return null;
  }
}

/** The price when it is one number a kind; undefined when it rises with the size or is charged otherwise. */
function flat(listed: Readonly<Record<string, unknown>>): Price | undefined {
  const { input_mtok: input, output_mtok: output = 0, cache_read_mtok: cached = input } = listed;
  return typeof input === 'number' && typeof output === 'number' && typeof cached === 'number' ? { input, output, cached } : undefined;
}

/**
 * @param targets by their names.
 * @returns what sets the cost of an answer, once its tokens are known.
 */
export function pricing(targets: ReadonlyMap<string, PricedTarget>, costOf: CostOf): (context: Context) => void {
  return function price(context) {
    const { usage, servedModel, target, status, route } = context;
    if (servedModel === null || target === null) return;
    // A call that failed is not charged; tokens that were used are.
    if (usage === null && (status < 200 || status >= 300 || route.class !== 'model' || route.free)) return;
    const priced = targets.get(target);
    if (priced !== undefined) context.cost = costOf(servedModel, priced, usage, route.api === images ? imagesIn(context, servedModel) : 1, context.newapiGroup);
  };
}

const images = '/v1/images/generations';
/** More images than any model makes for one request. */
const mostImages = 1000;

/** What NewAPI counts for a request for images: their number, and for OpenAI's older models a factor by size and quality. */
function imagesIn({ decodedBody, body }: Context, model: string): number {
  let asked: Readonly<Record<string, unknown>>;
  try {
    asked = JSON.parse((decodedBody ?? body?.whole() ?? '').toString()) as typeof asked;
  } catch {
    return 1;
  }
  const { n, size, quality } = asked ?? {};
  const number = typeof n === 'number' && Number.isInteger(n) && n > 0 && n <= mostImages ? n : 1;
  if (!model.startsWith('dall-e')) return number;
  const isWide = size === '1024x1792' || size === '1792x1024';
  const bySize = size === '256x256' ? 0.4 : size === '512x512' ? 0.45 : isWide ? 2 : 1;
  const byQuality = model !== 'dall-e-3' || quality !== 'hd' ? 1 : isWide ? 1.5 : 2;
  return number * bySize * byQuality;
}
