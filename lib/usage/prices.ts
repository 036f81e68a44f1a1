import { LRUCache } from 'lru-cache';
import type { Usage } from '../../types/usage.d.ts';
import type { Context } from '../request/request.ts';

/** US dollars a million tokens. */
export interface Price {
  readonly input: number;
  readonly output: number;
  /** For input from a cache; `input` counts where it is absent. */
  readonly cached?: number | null;
}

/** Prices by model; a name that ends in `*` matches every model that begins so. */
export type Prices = Readonly<Record<string, Price>>;

/** US dollars for what a model of a provider used; null when its price is unknown. */
export type CostOf = (model: string, provider: string, usage: Usage) => number | null;

/** The part of `@pydantic/genai-prices` that is used. */
export interface PriceBook {
  calcPrice(
    usage: { readonly input_tokens: number; readonly output_tokens: number; readonly cache_read_tokens: number },
    model: string,
    options: { readonly providerId?: string },
  ): { readonly total_price: number; readonly model_price: Readonly<Record<string, unknown>> } | null;
}

const bookName = '@pydantic/genai-prices';
/** Callers choose the names of models, so what is remembered of them is bounded. */
const remembered = { max: 1000, ttl: 60_000 };
const longestModel = 256;

/**
 * Costs by the configured prices, else by those of `@pydantic/genai-prices`, when it is installed. The package is looked for
 * when the first model without a configured price has answered, and its prices count as soon as it is loaded.
 * @param load imports the package.
 */
export function costs(prices: Prices, load: () => Promise<unknown> = () => import(bookName)): CostOf {
  let listed: CostOf | null = null;
  let isLooking = false;
  return (model, provider, usage) => {
    const price = find(model, prices);
    if (price !== null) return cost(usage, price);
    if (listed !== null) return listed(model, provider, usage);
    if (!isLooking) {
      isLooking = true;
      void load().then((book) => {
        if (isPriceBook(book)) listed = pricesOf(book);
      }, () => undefined);
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

/** Asking the package takes 13 to 26 µs: its price of a model is remembered for a minute, unless it depends on the size. */
function pricesOf(book: PriceBook): CostOf {
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
 * @param providers the provider of each target, by the target's name.
 * @returns what sets the cost of an answer, once its tokens are known.
 */
export function pricing(providers: ReadonlyMap<string, string>, costOf: CostOf): (context: Context) => void {
  return function price(context) {
    const { usage, servedModel, target } = context;
    if (usage === null || servedModel === null || target === null) return;
    const provider = providers.get(target);
    if (provider !== undefined) context.cost = costOf(servedModel, provider, usage);
  };
}
