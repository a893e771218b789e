//===- page.h - Runs, as one self-contained HTML page ------------------------===//
//
// The page holds its style, its script, the plotting library and the figures of
// the runs, and a policy that lets a browser load nothing else. What logs hold
// reaches it as JSON in which "<" is written as \u003c, and the script puts it
// into the page as text, never as HTML: no name can become code.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_COMPARE_PAGE_H
#define TXC_RUNTIME_COMPARE_PAGE_H

#include "compare/run_file.h"

#include <string>
#include <vector>

namespace txc::compare {

// Which of `count` iterations a page shows; all if they are few. Of more, each
// stretch of equal length gives its first, and those with the least and the
// greatest loss, time and gradient norm, so that no spike is lost.
std::vector<size_t> shownIterations(const std::vector<Iteration> &iterations, size_t limit = 4000);

std::string pageHtml(const std::vector<Run> &runs);

} // namespace txc::compare

#endif // TXC_RUNTIME_COMPARE_PAGE_H
