import type { Detector } from '../../../types/detector.d.ts';
import type { Cohort } from '../cohort.ts';
import type { CallerState } from '../state.ts';
import { thresholds } from '../thresholds.ts';
import { velocity } from './velocity.ts';

/** Requests far above what the key and its cohort ever sent. @param cohort requests of active key-hours. */
export const requestRate = (cohort: Cohort): Detector<CallerState> => velocity({ name: 'request_rate', rateOf: ({ rate }) => rate, cohort, least: thresholds.least.requests });
