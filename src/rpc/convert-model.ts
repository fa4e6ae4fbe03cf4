import type { ModelStep as DomainStep } from '../feedback/model-step.js';
import type { ModelEvidence as DomainEvidence, EvidencePart } from '../forecast/evidence.js';
import { HORIZONS } from '../forecast/forecast.js';
import type * as control from './control.js';
import type { Answer } from './generated/corecast/v1/Answer.js';
import type { DataPart } from './generated/corecast/v1/DataPart.js';
import type { GetModelReportResponse } from './generated/corecast/v1/GetModelReportResponse.js';
import type { Model } from './generated/corecast/v1/Model.js';
import type { ModelEvidence } from './generated/corecast/v1/ModelEvidence.js';
import type { ModelStep } from './generated/corecast/v1/ModelStep.js';

/* What is told of models, from the domain's types to corecast.v1's messages. Nothing is decided here. */

export function toModel({ card, inUse, state, why, live }: control.ModelInfo): Model {
  return {
    id: card.id,
    inUse,
    trainedMs: card.trainedMs,
    origin: card.origin,
    trainingRuns: card.trainingRuns,
    validationRuns: card.validationRuns,
    seed: card.seed,
    scores: [...card.scores],
    note: card.note,
    state: state ?? (inUse ? 'in_use' : 'candidate'),
    why: why ?? '',
    ...(live === undefined ? {} : { live: live.score, liveOutcomes: live.outcomes }),
  };
}

export function toModelStep({
  atMs,
  kind,
  model,
  inUse,
  by,
  reason,
  seed,
  data,
  scores,
}: DomainStep): ModelStep {
  return {
    atMs,
    kind,
    modelId: model,
    inUseId: inUse ?? '',
    by,
    reason,
    seed: seed ?? 0,
    ...(data === undefined ? {} : { data }),
    scores: scores ?? [],
  };
}

export function toModelReport({
  model,
  evidence,
  outcomes,
  steps,
}: control.ModelReport): GetModelReportResponse {
  return {
    model: toModel(model),
    ...(evidence === undefined ? {} : { evidence: toEvidence(evidence) }),
    live: outcomes.map(
      ({ atMs, encoder, horizon, demand, said, inUse }): Answer => ({
        encoder,
        ...span(horizon),
        actual: demand,
        q50: said.q50,
        q90: said.q90,
        atMs,
        handedOut: inUse,
      }),
    ),
    steps: steps.map(toModelStep),
  };
}

function toEvidence(evidence: DomainEvidence): ModelEvidence {
  const { data, start, keptEpoch, resumedAfter, curve, groups, points } = evidence;
  return {
    data: {
      hash: data.hash,
      fromMs: Math.min(data.training.fromMs, data.validation.fromMs, data.test.fromMs),
      toMs: Math.max(data.training.toMs, data.validation.toMs, data.test.toMs),
      runs: data.training.runs + data.validation.runs + data.test.runs,
      sources: data.training.sources + data.validation.sources + data.test.sources,
    },
    training: toPart(data.training),
    validation: toPart(data.validation),
    test: toPart(data.test),
    timeOrdered: data.timeOrdered,
    leftOut: data.leftOut,
    unusable: data.unusable,
    start,
    keptEpoch,
    resumedAfter: [...resumedAfter],
    epochs: curve.map(({ epoch, trainingLoss, validationLoss }) => ({
      epoch,
      ...(trainingLoss === null ? {} : { trainingLoss }),
      ...(validationLoss === null ? {} : { validationLoss }),
    })),
    groups: groups.map(({ horizon, ...group }) => ({ ...group, ...span(horizon) })),
    answers: points.map(({ horizon, ...point }) => ({
      ...point,
      ...span(horizon),
      atMs: 0,
      handedOut: false,
    })),
  };
}

function toPart(part: EvidencePart): DataPart {
  return { ...part };
}

function span(horizon: number): { fromSeconds: number; toSeconds: number } {
  const { fromS, toS } = HORIZONS[horizon] ?? { fromS: 0, toS: 0 };
  return { fromSeconds: fromS, toSeconds: toS };
}
